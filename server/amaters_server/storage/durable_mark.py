"""How far a database has been synced, kept outside the database's own files.

A database that lost its newest log, or the end of it, opens as if nothing had been written there.
One that lost the end of its manifest opens as it was before, without the tables that came later,
and the logs that held their rows are gone. The mark says what was synced. It is written after the
sync that it speaks of and not synced itself: a killed process loses nothing of it, and after a
power cut it may say too little, never too much. The epoch, which lies in the database too, names
the content: when another content takes its place, the mark of the old one says nothing about it.
"""

import logging
import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from amaters_server.model.errors import StorageLostError
from amaters_server.storage.manifest import NO_MANIFEST, Manifest, ManifestFile
from amaters_server.storage.swap import sync_folder

_log = logging.getLogger(__name__)

_FIRST_FORM = struct.Struct(">4s16sQ")
_FIRST_MAGIC = b"AMD1"
"""Of versions before 0.4, without the manifest."""
_FORM = struct.Struct(">4s16sQ32sQQ")
_MAGIC = b"AMD2"
_CHECK = struct.Struct(">I")
EPOCH = b"epoch"
"""Where a database keeps its epoch: in a table of its own, in the default column family."""
_EPOCH_BYTES = 16
_SIZE = _FORM.size + _CHECK.size
NEXT_STEP = (
    "In a cluster remove this member and add it again with an empty data folder. For a lone node "
    "restore a backup, or accept the loss with `amaters-server repair --accept-loss`"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """What was durable."""

    epoch: bytes
    """16 bytes."""
    sequence: int
    manifest: Manifest = NO_MANIFEST


class DurableMark:
    """The file of one engine."""

    def __init__(self, path: Path) -> None:
        """Open or create it, durably; OSError when that is impossible."""
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._file).st_size < _SIZE:
            os.posix_fallocate(self._file, 0, _SIZE)
            os.fsync(self._file)
            sync_folder(path.parent)

    def get(self) -> Mark | None:
        """Return what was promised; None when nothing was, or the mark itself is damaged."""
        row = os.pread(self._file, _SIZE, 0).ljust(_SIZE, b"\0")
        if _is_sound(row, _FORM, _MAGIC):
            _, epoch, sequence, *manifest = _FORM.unpack_from(row)
            return Mark(epoch, sequence, Manifest(*manifest))
        if _is_sound(row, _FIRST_FORM, _FIRST_MAGIC):
            return Mark(*_FIRST_FORM.unpack_from(row)[1:])
        return None

    def put(self, mark: Mark, *, sync: bool = False) -> None:
        """Record that much; without room for it the mark only says too little."""
        there = mark.manifest
        row = _FORM.pack(
            _MAGIC, mark.epoch, mark.sequence, there.database, there.number, there.size
        )
        with suppress(OSError):
            os.pwrite(self._file, row + _CHECK.pack(zlib.crc32(row)), 0)
            if sync:
                os.fsync(self._file)

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._file >= 0:
            with suppress(OSError):
                os.close(self._file)
            self._file = -1


def _is_sound(row: bytes, form: struct.Struct, magic: bytes) -> bool:
    (check,) = _CHECK.unpack_from(row, form.size)
    return row.startswith(magic) and check == zlib.crc32(row[: form.size])


class Database(Protocol):
    """What is needed of a RocksDB with keys and values as bytes."""

    def latest_sequence_number(self) -> int:
        """Return the number of the newest write, synced or not."""
        ...

    def get(self, key: bytes, /) -> bytes | None:
        """Return a value of the default column family."""
        ...

    def put(self, key: bytes, value: bytes, /) -> None:
        """Write a value of the default column family, without a sync."""
        ...

    def flush(self, *, wait: bool) -> None:
        """Move the default column family to a table file."""
        ...


class SyncedSoFar:
    """Holds one database against its mark."""

    def __init__(self, folder: Path) -> None:
        """Open the mark beside the database's folder; OSError when that is impossible."""
        self._folder = folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._mark = DurableMark(folder.with_name(f"{folder.name}.durable"))
        self._epoch = b""
        self._manifest = ManifestFile(folder)

    def check_manifest(self) -> None:
        """Check a database before it is opened, which begins another manifest.

        StorageLostError when it is older than what was recorded.
        """
        held, found = self._mark.get(), self._manifest.found()
        if held is not None and found is not None and found.is_older(held.manifest):
            self.close()
            raise StorageLostError(
                f"{self._folder} holds less than was acknowledged: its manifest is cut or of an "
                f"earlier time ({found.spelled}, and it was {held.manifest.spelled}). {NEXT_STEP}"
            )

    def forget_manifest(self) -> None:
        """Record durably that another content may take the place of this one."""
        held = self._mark.get()
        if held is not None:
            self._mark.put(replace(held, manifest=NO_MANIFEST), sync=True)

    def check(self, database: Database, *, accept_loss: bool) -> None:
        """Begin with a database that was just opened; StorageLostError when it is too old."""
        held, epoch = self._mark.get(), database.get(EPOCH)
        sequence = database.latest_sequence_number()
        lost = held is not None and _is_less(sequence, epoch, held)
        if lost and held is not None and not accept_loss:
            raise StorageLostError(
                f"{self._folder} holds less than was acknowledged (up to write {sequence} of "
                f"{held.sequence}): its newest log is missing or cut. {NEXT_STEP}"
            )
        if held is None and epoch is not None:
            _log.warning("storage.mark_missing", extra={"file": str(self._mark.path)})
        if epoch is None or lost:
            # Another epoch, so that an older mark that a power cut brings back says nothing.
            epoch = renew(database)
            sequence = database.latest_sequence_number()
        self._epoch = epoch
        self.reached(sequence)

    def reached(self, sequence: int) -> None:
        """Record that everything up to that write has been synced."""
        self._mark.put(Mark(self._epoch, sequence, self._manifest.synced()))

    def close(self) -> None:
        """Close the mark; idempotent."""
        self._mark.close()


def _is_less(sequence: int, epoch: bytes | None, held: Mark) -> bool:
    """Whether a database is older than its mark; one of another epoch cannot be compared."""
    if epoch is None:
        # An earlier version installs contents without an epoch; nothing at all is a loss.
        return sequence == 0
    return epoch == held.epoch and sequence < held.sequence


def renew(database: Database) -> bytes:
    """Give the content of a database another epoch, durably and outside of its log."""
    epoch = os.urandom(_EPOCH_BYTES)
    database.put(EPOCH, epoch)
    database.flush(wait=True)
    return epoch


def name_manifest(folder: Path) -> None:
    """Have the mark of a closed database name its manifest, if it says something and names none.

    OSError when that is impossible.
    """
    path = folder.with_name(f"{folder.name}.durable")
    if not path.exists():
        return
    mark = DurableMark(path)
    try:
        held = mark.get()
        if held is not None and held.manifest == NO_MANIFEST:
            mark.put(replace(held, manifest=ManifestFile(folder).synced()), sync=True)
    finally:
        mark.close()
