"""Where snapshots lie in an object store. Pure: settings, buckets and keys, no client."""

from dataclasses import dataclass
from typing import Literal

from amaters_server.model.errors import ConfigurationError, SnapshotError
from amaters_server.snapshots.names import id_of_remote, remote_name

SCHEME = "s3://"


@dataclass(frozen=True, slots=True)
class S3Settings:
    """How to reach the store; credentials come from the environment, never from here."""

    endpoint_url: str = ""
    """Empty: Amazon's own."""
    region: str = ""
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    server_side_encryption: Literal["", "AES256", "aws:kms"] = ""
    ca_file: str = ""
    """Whom to trust for https; empty: the system's authorities."""


@dataclass(frozen=True, slots=True)
class S3Tuning:
    """How transfers are cut up and repeated."""

    part_bytes: int = 16 * 1024 * 1024
    """Held in memory while it is uploaded; stores refuse parts below 5 MiB but for the last."""
    page_keys: int = 1000
    attempts: int = 5


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and the folder-like prefix inside it."""

    bucket: str
    prefix: str

    def key(self, snapshot_id: int) -> str:
        """Return the key that the snapshot of that id is stored under."""
        return self.start + remote_name(snapshot_id)

    @property
    def start(self) -> str:
        """Return what the keys of all snapshots here begin with."""
        return f"{self.prefix}/" if self.prefix else ""

    def id_of(self, key: str) -> int | None:
        """Return the id of the snapshot stored under the key, or None when it is none of ours."""
        return id_of_remote(key[len(self.start) :])

    def uri(self, key: str) -> str:
        """Return the URI of what is stored under the key."""
        return f"{SCHEME}{self.bucket}/{key}"


def place_of(destination: str) -> Place:
    """Parse `s3://bucket/prefix`; ConfigurationError when it names no bucket."""
    bucket, _, prefix = destination.removeprefix(SCHEME).partition("/")
    if not destination.startswith(SCHEME) or not bucket:
        raise ConfigurationError(
            f"snapshots.destination is {destination!r}: it must be s3://BUCKET/PREFIX"
        )
    return Place(bucket, prefix.strip("/"))


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Parse a snapshot's URI; SnapshotError when it names none."""
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not bucket or id_of_remote(key.rpartition("/")[2]) is None:
        raise SnapshotError(
            f"{uri} names no snapshot in a store: it must be s3://BUCKET/PREFIX/{remote_name(1)}"
        )
    return bucket, key
