"""The manifest of a RocksDB: the list of its tables and logs. It only grows, until another begins.

A manifest that is cut at its end is read without a fault, as one of an earlier time: tables that
came later are not in it, and the logs that held their rows have been deleted.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

_NAME = re.compile(r"MANIFEST-(\d{1,18})")
_LARGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Manifest:
    """How much there was of which manifest."""

    database: bytes = bytes(32)
    """Digest of the database's own id; the number and the size of another one mean nothing here."""
    number: int = 0
    size: int = 0

    def is_older(self, than: "Manifest") -> bool:
        """Whether it is one that the other came after."""
        newer = (than.number, than.size) > (self.number, self.size)
        return newer and self.database == than.database

    @property
    def spelled(self) -> str:
        """The name and the size."""
        return f"MANIFEST-{self.number:06} of {self.size} bytes"


NO_MANIFEST = Manifest()
"""Says nothing: none is older."""


class ManifestFile:
    """The manifest in use of the database in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._synced = NO_MANIFEST

    def found(self) -> Manifest | None:
        """Look at what there is; None when that is unknown, which the database itself reports."""
        try:
            name = self._read("CURRENT").decode(errors="replace").strip()
            known = _NAME.fullmatch(name)
            if known is None:
                return None
            size = (self._folder / name).stat().st_size
            return Manifest(sha256(self._read("IDENTITY")).digest(), int(known[1]), size)
        except OSError:
            return None

    def synced(self) -> Manifest:
        """Return how much of it is durable now; syncs what has been added since the last call."""
        before = self._synced
        with suppress(OSError):
            path = self._folder / f"MANIFEST-{before.number:06}"
            if before.number and path.stat().st_size == before.size:
                return before
        now = self.found()
        if now is not None and now != before:
            with suppress(OSError):
                self._sync(now)
                self._synced = now
        return self._synced

    def _sync(self, manifest: Manifest) -> None:
        file = os.open(self._folder / f"MANIFEST-{manifest.number:06}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def _read(self, name: str) -> bytes:
        with (self._folder / name).open("rb") as file:
            return file.read(_LARGEST_NAME)
