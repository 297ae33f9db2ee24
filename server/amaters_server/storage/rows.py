"""Sorted rows in memory that can be frozen at no cost; the structure under the memory engine.

Rows lie in blocks of some hundred neighbours. Freezing hands out the present blocks; a
write afterwards copies the one block it touches first, so a frozen state never changes and
never costs more than what was written since.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

_BLOCK_ROWS = 256


@dataclass(slots=True)
class _Block:
    """Neighbouring rows; writable only for the freeze count it was made under."""

    freezes: int
    keys: list[bytes]
    values: list[bytes]


class Rows:
    """Sorted rows to read. Never changes when it came from `MutableRows.freeze`."""

    __slots__ = ("_blocks", "_firsts")

    def __init__(self, blocks: list[_Block], firsts: list[bytes]) -> None:
        self._blocks = blocks
        self._firsts = firsts

    def get(self, key: bytes) -> bytes | None:
        """Return the value under the key, or None."""
        at = bisect_right(self._firsts, key) - 1
        if at < 0:
            return None
        block = self._blocks[at]
        where = bisect_left(block.keys, key)
        if where < len(block.keys) and block.keys[where] == key:
            return block.values[where]
        return None

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Walk the half-open range [start, end) in bytewise order, lazily."""
        if not self._blocks or start >= end:
            return
        at = max(bisect_right(self._firsts, start) - 1, 0)
        where = bisect_left(self._blocks[at].keys, start)
        for block in self._blocks[at:]:
            for key, value in zip(block.keys[where:], block.values[where:], strict=True):
                if key >= end:
                    return
                yield key, value
            where = 0


class MutableRows(Rows):
    """Sorted rows that one writer changes in place."""

    __slots__ = ("_freezes", "_shared", "count", "size_bytes")

    def __init__(self) -> None:
        super().__init__([], [])
        self._freezes = 0
        self._shared = False
        self.count = 0
        self.size_bytes = 0

    def freeze(self) -> Rows:
        """Return the present rows; later changes do not show in them."""
        self._shared = True
        self._freezes += 1
        return Rows(self._blocks, self._firsts)

    def put(self, key: bytes, value: bytes) -> bytes | None:
        """Store the value under the key; returns the value that it replaces, or None."""
        self._own_lists()
        if not self._blocks:
            self._blocks.append(_Block(self._freezes, [], []))
            self._firsts.append(key)
        at = max(bisect_right(self._firsts, key) - 1, 0)
        block = self._own_block(at)
        where = bisect_left(block.keys, key)
        if where < len(block.keys) and block.keys[where] == key:
            replaced = block.values[where]
            block.values[where] = value
            self.size_bytes += len(value) - len(replaced)
            return replaced
        block.keys.insert(where, key)
        block.values.insert(where, value)
        self._firsts[at] = block.keys[0]
        self.count += 1
        self.size_bytes += len(key) + len(value)
        if len(block.keys) > _BLOCK_ROWS:
            self._split(at)
        return None

    def remove(self, key: bytes) -> bytes | None:
        """Forget the key, which may be absent; returns the value that it had, or None."""
        if self.get(key) is None:
            return None
        self._own_lists()
        at = bisect_right(self._firsts, key) - 1
        block = self._own_block(at)
        where = bisect_left(block.keys, key)
        removed = block.values.pop(where)
        del block.keys[where]
        self.count -= 1
        self.size_bytes -= len(key) + len(removed)
        if block.keys:
            self._firsts[at] = block.keys[0]
        else:
            del self._blocks[at], self._firsts[at]
        return removed

    def clear(self, start: bytes, end: bytes) -> list[tuple[bytes, bytes]]:
        """Forget the half-open range [start, end); returns the rows that were in it."""
        removed = list(self.scan(start, end))
        if not removed:
            return removed
        self._own_lists()
        first = max(bisect_right(self._firsts, start) - 1, 0)
        last = bisect_left(self._firsts, end)
        kept = [self._without(block, start, end) for block in self._blocks[first:last]]
        kept = [block for block in kept if block.keys]
        self._blocks[first:last] = kept
        self._firsts[first:last] = [block.keys[0] for block in kept]
        self.count -= len(removed)
        self.size_bytes -= sum(len(key) + len(value) for key, value in removed)
        return removed

    def _without(self, block: _Block, start: bytes, end: bytes) -> _Block:
        low, high = bisect_left(block.keys, start), bisect_left(block.keys, end)
        return _Block(
            self._freezes,
            block.keys[:low] + block.keys[high:],
            block.values[:low] + block.values[high:],
        )

    def _own_lists(self) -> None:
        if self._shared:
            self._blocks = self._blocks.copy()
            self._firsts = self._firsts.copy()
            self._shared = False

    def _own_block(self, at: int) -> _Block:
        block = self._blocks[at]
        if block.freezes != self._freezes:
            block = _Block(self._freezes, block.keys.copy(), block.values.copy())
            self._blocks[at] = block
        return block

    def _split(self, at: int) -> None:
        block = self._blocks[at]
        half = len(block.keys) // 2
        upper = _Block(self._freezes, block.keys[half:], block.values[half:])
        del block.keys[half:], block.values[half:]
        self._blocks.insert(at + 1, upper)
        self._firsts.insert(at + 1, upper.keys[0])
