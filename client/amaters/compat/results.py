"""The published SDK's keys and results; all of them hold everything in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from typing_extensions import override

from amaters.keys import as_bytes

Pair = tuple[bytes, bytes]
BatchItem = bytes | int | None

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Key:
    """A key as bytes; equal keys are equal bytes."""

    _data: bytes

    @staticmethod
    def from_bytes(data: bytes) -> "Key":
        """Return the key of those bytes."""
        return Key(bytes(data))

    @staticmethod
    def from_str(s: str) -> "Key":
        """Return the key of that text's UTF-8."""
        return Key(s.encode())

    def to_bytes(self) -> bytes:
        """Return the bytes."""
        return self._data

    def to_string(self) -> str:
        """Return the text; what is no UTF-8 becomes the replacement character."""
        return self._data.decode(errors="replace")

    def __len__(self) -> int:
        return len(self._data)

    @override
    def __str__(self) -> str:
        return self.to_string()

    @override
    def __repr__(self) -> str:
        return f"Key({self.to_string()!r})"


KeyLike = Key | bytes | str


def key_bytes(key: KeyLike) -> bytes:
    """Return the bytes of any of the three ways to write a key."""
    return key.to_bytes() if isinstance(key, Key) else as_bytes(key)


class _Chunks(Generic[Item]):
    """Yields a list in parts; each item once."""

    def __init__(self, items: Sequence[Item], chunk_size: int) -> None:
        self._items = list(items)
        self._next = 0
        self._chunk_size = max(chunk_size, 1)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> list[Item]:
        if not self.remaining:
            raise StopIteration
        return self._take(self._chunk_size)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def remaining(self) -> int:
        """How many items have not been handed out."""
        return len(self._items) - self._next

    @property
    def chunk_size(self) -> int:
        """How many items are handed out at a time."""
        return self._chunk_size

    def collect(self) -> list[Item]:
        """Hand out all that remain, as one list."""
        return self._take(self.remaining)

    def _take(self, count: int) -> list[Item]:
        part = self._items[self._next : self._next + count]
        self._next += len(part)
        return part


class StreamIterator(_Chunks[Pair]):
    """Key and value pairs of a range, a list at a time."""


class BatchStreamIterator(_Chunks[BatchItem]):
    """Results of a batch, a list at a time."""


class BatchResult:
    """Results of a batch: bytes of a get, None of a miss or a write, or a count of rows."""

    def __init__(self, results: Sequence[BatchItem]) -> None:
        self._results = tuple(results)

    def __iter__(self) -> Iterator[BatchItem]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __getitem__(self, index: int) -> BatchItem:
        return self._results[index]

    @override
    def __repr__(self) -> str:
        return f"BatchResult({len(self._results)} operations)"


@dataclass(frozen=True, slots=True)
class ScanResult:
    """One page of a scan."""

    results: list[Pair]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        """Whether there is another page."""
        return self.next_cursor is not None

    def __len__(self) -> int:
        return len(self.results)
