"""What callers ask for and what they are answered, as values; shaped for batches.

Values are carried as the serialized `CipherBlob` message they arrived as: the server stores and
returns those bytes unchanged, so no layer between the wire and the disk decodes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from amaters_server.model.errors import DatabaseError
from amaters_server.model.keys import DataKey


class Put(NamedTuple):
    """Store the value under the key, replacing what was there."""

    key: DataKey
    value: bytes


class Remove(NamedTuple):
    """Delete the key; deleting an absent key is no error."""

    key: DataKey


class Get(NamedTuple):
    """Read one key."""

    key: DataKey


class Scan(NamedTuple):
    """Read the half-open range [start, end) in bytewise order; `limit` None means all of it."""

    start: DataKey
    end: DataKey
    limit: int | None


Operation = Put | Remove | Get | Scan

Row = tuple[bytes, bytes]
"""A data key and its stored value."""

Result = int | bytes | None | list[Row]
"""Rows affected by a Put or Remove; the value or None of a Get; the rows of a Scan."""


class Write(NamedTuple):
    """Operations that take effect together, at least one of them a Put or a Remove."""

    ticket: int
    operations: Sequence[Operation]
    deadline: float
    """On the event loop's clock."""
    session: bytes = b""
    session_sequence: int = 0
    forward: bool = True
    """False: refuse with NotLeaderError rather than let the leader do it."""


class Read(NamedTuple):
    """Gets and Scans answered from one consistent state."""

    ticket: int
    operations: Sequence[Operation]
    deadline: float
    stale: bool = False
    """True: answer from what this node has applied, without asking the leader."""


Answer = list[Result] | DatabaseError
"""One result per operation, in order; or why there are none."""


class Answers(Protocol):
    """Where the node delivers answers, many at a time, on the event loop's thread."""

    def __call__(self, answered: list[tuple[int, Answer]], /) -> None:
        """Take the answers of these tickets; each ticket is answered exactly once."""
        ...


@dataclass(frozen=True, slots=True)
class ReadAge:
    """How old a stale read may be: seconds since this node last heard from a leader."""

    seconds: float
