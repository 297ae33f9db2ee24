"""A snapshot in transfer: the files of an engine's checkpoint as one stream of bytes.

The stream begins with a manifest (its length in four big-endian bytes, then JSON), which names
every file with its size and CRC-32; the files follow in that order. An offset into the stream is
how far it was received, so that a transfer continues there. Memory is bounded by one piece.
Everything here blocks and belongs in a worker thread.
"""

import json
import re
import shutil
import zlib
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Self

from amaters_server.model.errors import SnapshotError
from amaters_server.storage.swap import sync, sync_folder

FORMAT = 1
_LENGTH_BYTES = 4
_MOST_MANIFEST_BYTES = 16 * 1024 * 1024
_PIECE = 1024 * 1024
_MANIFEST = "manifest"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """One file of the checkpoint."""

    name: str
    size: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files, in the order of the stream."""

    files: tuple[CheckpointFile, ...]

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read every file of the folder for its checksum."""
        paths = sorted(path for path in folder.iterdir() if path.is_file())
        return cls(
            tuple(CheckpointFile(path.name, path.stat().st_size, checksum(path)) for path in paths)
        )

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Read it back; raises SnapshotError when it is none."""
        try:
            decoded = json.loads(encoded)
            known = int(decoded["format"])
            files = tuple(
                CheckpointFile(str(one["name"]), int(one["size"]), int(one["crc32"]))
                for one in decoded["files"]
            )
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise SnapshotError(f"the snapshot's manifest does not decode: {error!r}") from error
        if known != FORMAT:
            raise SnapshotError(
                f"the snapshot has format {known}, this version reads format {FORMAT}: bring this "
                "member to the version of its leader"
            )
        odd = [one.name for one in files if not _PLAIN_NAME.fullmatch(one.name) or one.size < 0]
        if odd or len({one.name for one in files}) != len(files):
            raise SnapshotError(
                f"the snapshot's manifest names files that no engine has: {odd[:3]}"
            )
        return cls(files)

    def encode(self) -> bytes:
        """Return the head of the stream: length and manifest."""
        encoded = json.dumps(
            {"format": FORMAT, "files": [asdict(one) for one in self.files]}
        ).encode()
        return len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded


class OutgoingSnapshot:
    """A checkpoint that is sent; deleting its folder ends that."""

    def __init__(self, folder: Path) -> None:
        """Read every file once, for its checksum."""
        self.folder = folder
        manifest = Manifest.of(folder)
        self._head = manifest.encode()
        self._files = manifest.files
        sizes = (len(self._head), *(one.size for one in self._files))
        self._ends = list(accumulate(sizes))
        self.size = self._ends[-1]

    def read(self, offset: int, most: int) -> bytes:
        """Return bytes from there on, at least one unless the stream ends there."""
        if offset < self._ends[0]:
            return self._head[offset : offset + most]
        for begin, end, file in zip(self._ends, self._ends[1:], self._files, strict=False):
            if offset < end:
                return self._read_file(file, offset - begin, min(most, end - offset))
        return b""

    def _read_file(self, file: CheckpointFile, offset: int, size: int) -> bytes:
        try:
            with (self.folder / file.name).open("rb") as opened:
                opened.seek(offset)
                data = opened.read(size)
        except OSError as error:
            raise SnapshotError(f"cannot read {file.name} of the snapshot: {error}") from error
        if not data:
            raise SnapshotError(f"{file.name} of the snapshot has become shorter")
        return data


class IncomingSnapshot:
    """A checkpoint that is being received into a folder; continues an earlier attempt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._content = folder / "files"
        self._content.mkdir(parents=True, exist_ok=True)
        self._head = b""
        self._manifest: Manifest | None = None
        self._whole = 0
        path = folder / _MANIFEST
        if path.exists():
            self._head = path.read_bytes()
            self._manifest = Manifest.decode(self._head[_LENGTH_BYTES:])

    def measure(self) -> int:
        """Return how much of the stream is here, from its beginning on."""
        if self._manifest is None:
            return len(self._head)
        self._whole = 0
        last = self._unfinished()
        whole = self._manifest.files[: self._whole]
        present = self._present(last) if last is not None else 0
        return len(self._head) + sum(one.size for one in whole) + present

    def append(self, data: bytes) -> None:
        """Take the next piece of the stream."""
        rest = memoryview(data)
        if self._manifest is None:
            rest = self._begin(data)
        while rest:
            file = self._unfinished()
            if file is None:
                raise SnapshotError("the snapshot is longer than its manifest says")
            size = min(file.size - self._present(file), len(rest))
            with (self._content / file.name).open("ab") as opened:
                opened.write(rest[:size])
            rest = rest[size:]

    def finish(self, whole: Path) -> None:
        """Check every file, make all durable, and move them into a folder of that name.

        SnapshotError when something differs; it is fetched again then.
        """
        files = self._manifest.files if self._manifest is not None else ()
        for file in files:
            path = self._content / file.name
            if not file.size:
                path.touch()
            if path.stat().st_size != file.size or checksum(path) != file.crc32:
                shutil.rmtree(self._content)
                raise SnapshotError(f"{file.name} of the snapshot is damaged: fetching it again")
            with path.open("rb+") as opened:
                sync(opened)
        sync_folder(self._content)
        self._content.rename(whole)
        shutil.rmtree(self.folder)
        sync_folder(whole.parent)

    def _begin(self, data: bytes) -> memoryview:
        head = self._head = self._head + data
        if len(head) < _LENGTH_BYTES:
            return memoryview(b"")
        end = _LENGTH_BYTES + int.from_bytes(head[:_LENGTH_BYTES], "big")
        if end > _MOST_MANIFEST_BYTES:
            raise SnapshotError(f"the snapshot's manifest claims to have {end} bytes")
        if len(head) < end:
            return memoryview(b"")
        self._head = head[:end]
        self._manifest = Manifest.decode(head[_LENGTH_BYTES:end])
        (self.folder / _MANIFEST).write_bytes(self._head)
        return memoryview(head)[end:]

    def _unfinished(self) -> CheckpointFile | None:
        files = self._manifest.files if self._manifest is not None else ()
        while (
            self._whole < len(files)
            and self._present(files[self._whole]) >= files[self._whole].size
        ):
            self._whole += 1
        return files[self._whole] if self._whole < len(files) else None

    def _present(self, file: CheckpointFile) -> int:
        path = self._content / file.name
        return path.stat().st_size if path.exists() else 0


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file."""
    found = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            found = zlib.crc32(piece, found)
    return found
