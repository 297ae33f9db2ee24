"""The two files: what `meta.bin` says of the backup, and the pairs in `manifest.bin`.

Everything here blocks. Each file is opened once and held: what is verified is what is read.
"""

import enum
import io
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO, NamedTuple

from amaters_server.backups.beneath import FolderBelow
from amaters_server.backups.file.archive import cannot_read
from amaters_server.backups.published.encoding import Decoder
from amaters_server.model.errors import SnapshotError
from amaters_server.model.keys import MAX_KEY_BYTES

META, MANIFEST = LAYOUT = ("meta.bin", "manifest.bin")
SCHEMA = 1
_MOST_META_BYTES = 64
_U32, _U64 = 2**32 - 1, 2**64 - 1
_SMALLEST_PAIR = 2
_BATCH_PAIRS = 1024
_BATCH_BYTES = 256 * 1024

Pair = tuple[bytes, bytes]


class Kind(enum.Enum):
    """What the backup calls itself; the published server writes everything in both cases."""

    FULL = 0
    INCREMENTAL = 1


class Meta(NamedTuple):
    """What `meta.bin` says."""

    schema_version: int
    total_keys: int
    total_bytes: int
    """Of the values."""
    kind: Kind


def decode_meta(data: bytes, *, name: str = META) -> Meta:
    """Decode `meta.bin`; SnapshotError says which byte is wrong."""
    if len(data) > _MOST_META_BYTES:
        raise SnapshotError(
            f"{name} has {len(data)} bytes, and no backup of AmateRS has more than "
            f"{_MOST_META_BYTES} there: name the folder of a backup"
        )
    decoder = Decoder(io.BytesIO(data), size=len(data), name=name)
    schema = decoder.number("its schema version", _U32)
    if schema != SCHEMA:
        raise SnapshotError(
            f"{name} has schema version {schema}, and this server reads version {SCHEMA}: make the "
            "backup with a version of AmateRS that writes that one"
        )
    keys = decoder.number("its number of keys", _U64)
    size = decoder.number("its number of bytes", _U64)
    kind = Kind(decoder.number("its kind", max(one.value for one in Kind)))
    decoder.require_end()
    return Meta(schema, keys, size, kind)


class PublishedBackup:
    """One folder with both files, held open; close it."""

    def __init__(self, folder: FolderBelow, *, largest_value: int) -> None:
        """Open both; SnapshotError when one is missing, a link, or not what it must be."""
        self._largest_value = largest_value
        self._name = str(folder.path / MANIFEST)
        self._checksum: int | None = None
        with ExitStack() as opened:
            meta = opened.enter_context(_opened(folder, META))
            self._manifest = opened.enter_context(_opened(folder, MANIFEST))
            self._size = os.fstat(self._manifest.fileno()).st_size
            beginning = meta.read(_MOST_META_BYTES + 1)
            self.meta = decode_meta(beginning, name=str(folder.path / META))
            meta.close()
            opened.pop_all()

    def verify(self) -> int:
        """Read everything; returns the number of keys, SnapshotError when the files disagree."""
        return sum(len(pairs) for pairs in self.batches())

    def batches(self) -> Iterator[list[Pair]]:
        """Walk all pairs in the order of the file; complete only once the walk has ended."""
        self._manifest.seek(0)
        decoder = Decoder(self._manifest, size=self._size, name=self._name)
        count = decoder.number("its number of keys", _U64)
        if count != self.meta.total_keys:
            raise self._differs(f"{self.meta.total_keys} keys", f"{count}")
        if count * _SMALLEST_PAIR > decoder.left:
            raise decoder.damaged(f"{count} keys cannot be in {decoder.left} bytes")
        total, size = 0, 0
        pairs: list[Pair] = []
        for number in range(1, count + 1):
            key = decoder.string(f"key {number}", MAX_KEY_BYTES)
            value = decoder.string(f"the value of key {number}", self._largest_value)
            pairs.append((key, value))
            total += len(value)
            size += len(key) + len(value)
            if size >= _BATCH_BYTES or len(pairs) >= _BATCH_PAIRS:
                yield pairs
                pairs, size = [], 0
        if pairs:
            yield pairs
        decoder.require_end()
        self._require_same(decoder.checksum, total)

    def close(self) -> None:
        """Close the file; idempotent."""
        self._manifest.close()

    def _require_same(self, checksum: int, total: int) -> None:
        if total != self.meta.total_bytes:
            raise self._differs(f"{self.meta.total_bytes} bytes of values", f"{total}")
        if self._checksum is None:
            self._checksum = checksum
        if checksum != self._checksum:
            raise SnapshotError(
                f"{self._name} was changed while it was read: copy it to a folder that nobody "
                "writes to"
            )

    def _differs(self, said: str, found: str) -> SnapshotError:
        return SnapshotError(
            f"{META} promises {said}, and {self._name} holds {found}: the files are of different "
            "backups, or one was cut off; copy both again"
        )


def files_of(folder: FolderBelow) -> tuple[str, ...]:
    """Return which of the two files are in the folder; OSError when it cannot be read."""
    return tuple(one for one in LAYOUT if folder.status(one) is not None)


def _opened(folder: FolderBelow, name: str) -> BinaryIO:
    try:
        return folder.open_regular(name)
    except OSError as error:
        raise cannot_read(folder.path / name, error) from error
