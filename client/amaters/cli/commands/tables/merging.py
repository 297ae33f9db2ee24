"""The differences of two sorted streams of records, one at a time: memory holds two of them."""

import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass

from amaters.cli.commands.tables.records import Record


class Kind(enum.Enum):
    """What became of a key from the first stream to the second."""

    ADDED = "added"
    REMOVED = "removed"
    MODIFIED = "modified"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; the values are those of the streams that have the key."""

    kind: Kind
    key: bytes
    old: bytes | None
    new: bytes | None


async def changes(
    first: AsyncIterator[Record], second: AsyncIterator[Record]
) -> AsyncIterator[Change | None]:
    """Yield each difference by key, and None for a key that is equal in both."""
    old, new = await anext(first, None), await anext(second, None)
    while old is not None or new is not None:
        if old is not None and (new is None or old[0] < new[0]):
            yield Change(Kind.REMOVED, old[0], old[1], None)
            old = await anext(first, None)
        elif new is not None and (old is None or new[0] < old[0]):
            yield Change(Kind.ADDED, new[0], None, new[1])
            new = await anext(second, None)
        elif old is not None and new is not None:
            same = old[1] == new[1]
            yield None if same else Change(Kind.MODIFIED, old[0], old[1], new[1])
            old, new = await anext(first, None), await anext(second, None)
