"""Views of the disk engine: native snapshots and iterators, all of one moment.

Sees the binding's objects only through the two protocols here; `rocks` makes them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from amaters_server.model.errors import StorageError
from amaters_server.storage.engine import Space
from amaters_server.storage.rocks.errors import translate

_KEY_NOT_FOUND = "key not found"
_BEHIND_ALL = b"\xff" * 64
"""A place where no row is: no key of any space begins like this."""


class NativeSnapshot(Protocol):
    """Freezes single reads."""

    def __getitem__(self, key: bytes, /) -> bytes:
        """Return the value, or raise an Exception that says the key was not found."""
        ...


class NativeIterator(Protocol):
    """Is at one row, or at none; keeps the database open as long as it lives."""

    def seek(self, key: bytes, /) -> None:
        """Go to the first row at or after the key."""
        ...

    def valid(self) -> bool:
        """Return whether it is at a row."""
        ...

    def key(self) -> bytes:
        """Return the row's key."""
        ...

    def value(self) -> bytes:
        """Return the row's value."""
        ...

    def next(self) -> None:
        """Go to the next row."""
        ...

    def status(self) -> None:
        """Raise what ended the walk, if it was no end of rows."""
        ...


class Cursor:
    """A native iterator, frozen when it was made, that several scans take turns on."""

    __slots__ = ("iterator", "user")

    def __init__(self, iterator: NativeIterator) -> None:
        self.iterator = iterator
        self.user: object = None
        """The scan whose position the iterator has."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """What pins one keyspace at one moment."""

    snapshot: NativeSnapshot
    cursor: Cursor


class RocksView:
    """A frozen state of a RocksDB engine; may be read from any one thread at a time.

    The binding's snapshots freeze single reads but not iterators, which see the moment of their
    own making instead. So each keyspace's iterator is made together with its snapshot.
    """

    def __init__(self, spaces: dict[Space, Frozen], folder: Path) -> None:
        self._spaces: dict[Space, Frozen] | None = spaces
        self._folder = folder

    def get(self, space: Space, key: bytes) -> bytes | None:
        """Return the value under the key, or None."""
        snapshot = self._frozen(space).snapshot
        try:
            return snapshot[key]
        except Exception as error:
            if str(error) == _KEY_NOT_FOUND:
                return None
            raise translate(error, "reading", self._folder) from error

    def scan(self, space: Space, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Walk the half-open range [start, end) in bytewise order, lazily."""
        self._frozen(space)
        return self._walk(space, start, end) if start < end else iter(())

    def close(self) -> None:
        """Release everything; scans still under way end with StorageError."""
        self._spaces = None

    def _frozen(self, space: Space) -> Frozen:
        if self._spaces is None:
            raise StorageError("this view was closed: take a new one")
        return self._spaces[space]

    def _walk(self, space: Space, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        user = object()
        try:
            yield from self._rows(space, user, start, end)
        finally:
            self._rest(space, user)

    def _rest(self, space: Space, user: object) -> None:
        """Move the iterator off all rows: it keeps its current row in memory."""
        cursor = None if self._spaces is None else self._spaces[space].cursor
        if cursor is not None and cursor.user is user:
            cursor.user = None
            cursor.iterator.seek(_BEHIND_ALL)

    def _rows(
        self, space: Space, user: object, start: bytes, end: bytes
    ) -> Iterator[tuple[bytes, bytes]]:
        last = None
        while True:
            cursor = self._frozen(space).cursor
            iterator = cursor.iterator
            if cursor.user is not user:
                cursor.user = user
                iterator.seek(start if last is None else last)
                if last is not None:
                    iterator.next()
            if not iterator.valid():
                return self._require_healthy(iterator)
            last = iterator.key()
            if last >= end:
                return None
            row = (last, iterator.value())
            iterator.next()
            del cursor, iterator  # a scan left half way must not keep the database open
            yield row

    def _require_healthy(self, iterator: NativeIterator) -> None:
        try:
            iterator.status()
        except Exception as error:
            raise translate(error, "scanning", self._folder) from error
