"""What a restore loads: a backup of this server, or one that AmateRS has written. Blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

from amaters.wire.types_pb2 import CipherBlob, CipherMetadata

from amaters_server.backups.file.archive import HeldArchive
from amaters_server.backups.published.layout import PublishedBackup
from amaters_server.machine.backup import BackupReader, verify_backup
from amaters_server.model.errors import SnapshotError
from amaters_server.model.keys import collection_prefix
from amaters_server.model.queries import Row

DEFAULT_COLLECTION = "default"
"""Of the published command line."""
ADMIN_KEYS = b"__admin__:"
_AROUND_A_VALUE = 2048
"""Bytes of an answer, or of a request, that are no part of key and value."""


class Content(Protocol):
    """The rows of one backup, held open."""

    def verify(self) -> int:
        """Read all of it; returns the number of rows, SnapshotError when anything is wrong."""
        ...

    def batches(self) -> Iterator[list[Row]]:
        """Walk all rows, as they are stored, some thousand at a time."""
        ...

    def close(self) -> None:
        """Let the files go."""
        ...


@dataclass(frozen=True, slots=True)
class ArchiveContent:
    """A backup of this server."""

    archive: HeldArchive

    def verify(self) -> int:
        """Read all of it; returns the number of rows."""
        return verify_backup(self.archive.content())[1]

    def batches(self) -> Iterator[list[Row]]:
        """Walk all rows."""
        return BackupReader(self.archive.content()).batches()

    def close(self) -> None:
        """Let the file go."""
        self.archive.close()


@dataclass(frozen=True, slots=True)
class PublishedContent:
    """A backup of AmateRS, whose keys are in no collection and go into one."""

    backup: PublishedBackup
    collection: str
    created_at: int
    """Unix seconds: the layout does not keep when a value was written."""

    def verify(self) -> int:
        """Read all of it; returns the number of rows."""
        collection_prefix(self.collection)
        for pairs in self.backup.batches():
            for key, _ in pairs:
                if key.startswith(ADMIN_KEYS):
                    raise SnapshotError(
                        f"the backup holds a key that begins with {ADMIN_KEYS.decode()}, which "
                        "nobody could read here: delete it in AmateRS, and make another backup"
                    )
        return self.backup.meta.total_keys

    def batches(self) -> Iterator[list[Row]]:
        """Walk all rows."""
        prefix = collection_prefix(self.collection)
        for pairs in self.backup.batches():
            yield [(prefix + key, self._stored(value)) for key, value in pairs]

    def close(self) -> None:
        """Let the files go."""
        self.backup.close()

    def _stored(self, value: bytes) -> bytes:
        metadata = CipherMetadata(
            size=len(value), checksum=crc32(value), created_at=self.created_at
        )
        return CipherBlob(data=value, metadata=metadata).SerializeToString()


def largest_value(message_bytes: int) -> int:
    """Return how large a value may be that fits a message, whatever its key."""
    return message_bytes - _AROUND_A_VALUE
