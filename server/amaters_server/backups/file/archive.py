"""A backup file: the published header, then the content as an LZ4 frame, checked as a whole.

Written under a temporary name, synced, and renamed, so that a file with its final name is whole.
Memory is bounded on both ways. Everything here blocks and belongs in a worker thread.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from amaters_server.backups.beneath import create, open_regular
from amaters_server.backups.file import frame, header
from amaters_server.backups.file.checksum import Variant, fnv1a, matching
from amaters_server.backups.file.header import ArchiveHeader, decode_header
from amaters_server.model.errors import SnapshotError
from amaters_server.storage.swap import sync, sync_folder

PARTIAL = ".partial"
"""What temporary names end with."""
_PIECE = 1024 * 1024

Pace = Callable[[int], None]
"""Takes how many bytes are about to pass; may block to slow them down."""


def at_full_speed(_count: int, /) -> None:
    """Do not slow anything down."""


class ArchiveWriter:
    """Writes one backup file; leaves nothing behind unless `commit` was called."""

    def __init__(
        self, path: Path, *, backup_id: int, timestamp_ms: int, pace: Pace = at_full_speed
    ) -> None:
        self.path = path
        self._partial = path.with_name(path.name + PARTIAL)
        self._backup_id = backup_id
        self._timestamp_ms = timestamp_ms
        self._pace = pace
        self._frame = frame.FrameWriter()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        """Begin the file; raises SnapshotError when its folder cannot be written."""
        try:
            self._file = create(self._partial)
            self._file.write(bytes(header.SIZE + frame.HEADER_BYTES))
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Throw away what was not committed."""
        if self._file is not None:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def write(self, piece: bytes) -> None:
        """Add the next piece of the content."""
        compressed = self._frame.compress(piece)
        if compressed:
            self._pace(len(compressed))
            self._append(compressed)

    def commit(self) -> ArchiveHeader:
        """End the content and give the file its name; durable when this returns."""
        self._append(self._frame.finish())
        file = self._opened()
        try:
            file.seek(header.SIZE)
            file.write(self._frame.header())
            file.flush()
            written = self._header(file)
            file.seek(0)
            file.write(written.encode())
            sync(file)
            file.close()
            self._partial.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._file = None
        return written

    def _header(self, file: BinaryIO) -> ArchiveHeader:
        # The checksum begins with the frame's header, which was written last: read it all again.
        checksum = fnv1a(b"")
        file.seek(header.SIZE)
        while piece := file.read(_PIECE):
            checksum = fnv1a(piece, checksum)
        return ArchiveHeader(
            self._backup_id, self._timestamp_ms, self._frame.content_size, checksum
        )

    def _append(self, data: bytes) -> None:
        try:
            self._opened().write(data)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise SnapshotError(f"{self.path} is not being written (any more)")
        return self._file


@dataclass(frozen=True, slots=True)
class Verified:
    """A backup file that was read to its end and found whole."""

    header: ArchiveHeader
    variant: Variant
    size_bytes: int
    """Of the file."""


class ArchiveReader:
    """Reads one backup file, as often as needed."""

    def __init__(self, path: Path, open_file: Callable[[], BinaryIO] | None = None) -> None:
        """Read the header; raises SnapshotError when it is missing or not a backup.

        `open_file` opens it where the path alone must not be trusted.
        """
        self.path = path
        self._open_file = open_file or partial(open_regular, path)
        with self._open() as file:
            self.header = decode_header(file.read(header.SIZE), name=path.name)

    def verify(self) -> Verified:
        """Compare everything with the checksum; raises SnapshotError when it differs."""
        with self._open() as file:
            size = os.fstat(file.fileno()).st_size
        variant = matching(self._payload, self.header.checksum)
        if variant is None:
            raise SnapshotError(
                f"{self.path.name} is damaged or cut off: its {size} bytes do not match their "
                f"checksum {self.header.checksum:016x}; delete it and choose another backup"
            )
        return Verified(self.header, variant, size)

    def content(self) -> Iterator[bytes]:
        """Walk the decompressed content; SnapshotError when it does not decompress."""
        return frame.decompress(
            self._payload(), name=self.path.name, original_size=self.header.original_size
        )

    def _payload(self) -> Iterator[bytes]:
        with self._open() as file:
            file.seek(header.SIZE)
            while piece := self._read(file):
                yield piece

    def _read(self, file: BinaryIO) -> bytes:
        try:
            return file.read(_PIECE)
        except OSError as error:
            raise cannot_read(self.path, error) from error

    def _open(self) -> BinaryIO:
        try:
            return self._open_file()
        except OSError as error:
            raise cannot_read(self.path, error) from error


class HeldArchive(ArchiveReader):
    """A backup file that stays readable, whatever becomes of its name; close it."""

    def __init__(self, path: Path) -> None:
        """Open the file; SnapshotError when it is no backup."""
        try:
            self._held = open_regular(path)
        except OSError as error:
            raise cannot_read(path, error) from error
        try:
            super().__init__(path, self.file)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._held.close()

    def file(self) -> BinaryIO:
        """Return the file at its beginning. Only the last one returned may be read."""
        copy = os.fdopen(os.dup(self._held.fileno()), "rb")
        copy.seek(0)
        return copy


def beginning_of_content(data: bytes, *, name: str) -> Iterator[bytes]:
    """Walk the content that the first bytes of a file hold; SnapshotError where they end."""
    found = decode_header(data[: header.SIZE], name=name)
    return frame.decompress([data[header.SIZE :]], name=name, original_size=found.original_size)


@contextmanager
def appearing_whole(target: Path) -> Iterator[BinaryIO]:
    """Give an empty file beside the target, verified and renamed to it at the end."""
    unfinished = target.with_name(target.name + PARTIAL)
    try:
        with create(unfinished) as file:
            yield file
            sync(file)
        ArchiveReader(unfinished).verify()
        unfinished.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> SnapshotError:
    """Say that a backup could not be written."""
    return SnapshotError(f"cannot write {path}: make room or correct the path ({_reason(error)})")


def cannot_read(path: Path, error: OSError) -> SnapshotError:
    """Say that a backup could not be read."""
    return SnapshotError(
        f"cannot read {path}: check that it exists and is readable ({_reason(error)})"
    )


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
