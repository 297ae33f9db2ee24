"""From a place to what stores there."""

from amaters_server.backups.places import FolderPlace, Place
from amaters_server.backups.stores.local import LocalSnapshotUploader
from amaters_server.backups.stores.s3_settings import S3Credentials, S3Settings
from amaters_server.backups.stores.uploader import SnapshotUploader


def uploader_for(
    place: Place, settings: S3Settings, credentials: S3Credentials | None = None
) -> SnapshotUploader:
    """Return the uploader for the place; `credentials` are those of one call.

    Call it off the event loop: the first use of S3 loads boto3.
    """
    if isinstance(place, FolderPlace):
        return LocalSnapshotUploader(place)
    # A fifth of a second of processor time that no node needs in order to start.
    from amaters_server.backups.stores.s3 import S3SnapshotUploader  # noqa: PLC0415

    return S3SnapshotUploader(place, settings, credentials=credentials)
