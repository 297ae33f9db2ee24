"""From a configured destination to an uploader: `s3://bucket/prefix`, or a folder's path."""

from pathlib import Path

from amaters_server.model.errors import ConfigurationError
from amaters_server.snapshots import local
from amaters_server.snapshots.local import LocalSnapshotUploader
from amaters_server.snapshots.s3_place import SCHEME, S3Settings
from amaters_server.snapshots.uploader import SnapshotUploader


def uploader_for(destination: str, settings: S3Settings) -> SnapshotUploader:
    """Return the uploader for the destination; ConfigurationError when it is neither kind.

    Call it off the event loop: the first use of S3 loads boto3.
    """
    if destination.startswith(SCHEME):
        # A fifth of a second of processor time that no node needs in order to start.
        from amaters_server.snapshots.s3 import S3SnapshotUploader  # noqa: PLC0415

        return S3SnapshotUploader(destination, settings)
    folder = destination.removeprefix(local.SCHEME)
    if not folder.startswith("/"):
        raise ConfigurationError(
            f"snapshots.destination is {destination!r}: use s3://BUCKET/PREFIX or /FOLDER"
        )
    return LocalSnapshotUploader(Path(folder))
