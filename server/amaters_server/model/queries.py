"""Requests and answers as values, shaped for batches.

Values are carried as the serialized `CipherBlob` message they arrived as: the server stores and
returns those bytes unchanged, so no layer between the wire and the disk decodes them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, overload

from typing_extensions import override

from amaters_server.model.errors import DatabaseError
from amaters_server.model.keys import DataKey

made: Final = tuple.__new__
"""`made(Put, (key, value))`: a NamedTuple at a third of the cost, where there are very many."""


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


class Update(NamedTuple):
    """Change every value in [start, end) that matches; of all rows or, beyond a limit, of none."""

    start: DataKey
    end: DataKey
    predicate: bytes
    """A serialized types.Predicate."""
    updates: tuple[bytes, ...]
    """Serialized types.Updates, made one after the other."""
    created_at: int
    """Unix seconds, of the values that it computes."""
    most_rows: int
    """How many rows it may look at."""
    most_bytes: int
    """Of keys and new values together."""


class Filter(NamedTuple):
    """Read the rows in [start, end) that match, without the first `offset`."""

    start: DataKey
    end: DataKey
    predicate: bytes
    offset: int
    limit: int | None
    most_rows: int
    """How many rows it may look at among writes; alone it looks at all."""


Operation = Put | Remove | Get | Scan | Update | Filter


class SlowOperations(tuple[Operation, ...]):
    """Operations of one write with an Update or a Filter among them: they take a while.

    They travel in a log entry of their own, and are applied a slice at a time.
    """

    __slots__ = ()


class Columns(Sequence[Operation]):
    """Puts and Removes side by side; at a tenth of the cost of as many objects."""

    __slots__ = ("keys", "values")

    def __init__(self, keys: list[bytes], values: list[bytes | None]) -> None:
        """Own both lists, which are of one length; the keys are data keys."""
        self.keys = keys
        self.values = values
        """What to store under each key; None removes it."""

    @override
    def __len__(self) -> int:
        return len(self.keys)

    @override
    def __iter__(self) -> Iterator[Operation]:
        return map(_change, self.keys, self.values)

    @overload
    def __getitem__(self, at: int) -> Operation: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Operation]: ...
    @override
    def __getitem__(self, at: int | slice) -> Operation | Sequence[Operation]:
        if isinstance(at, slice):
            return Columns(self.keys[at], self.values[at])
        return _change(self.keys[at], self.values[at])

    @override
    def __repr__(self) -> str:
        return f"Columns({self.keys!r}, {self.values!r})"


def _change(key: bytes, value: bytes | None) -> Put | Remove:
    return Remove(DataKey(key)) if value is None else Put(DataKey(key), value)


Row = tuple[bytes, bytes]
"""A data key and its stored value."""

Result = int | bytes | None | list[Row]
"""Rows affected by a Put, Remove or Update; the value or None of a Get; the rows of the others."""

NOT_KEPT: Final = 0
"""The result of a read among writes for which the results before it left no room; of an Update it
is the number of rows."""


class Write(NamedTuple):
    """Operations that are applied together, at least one of them a Put or a Remove."""

    ticket: int
    operations: Sequence[Operation]
    deadline: float
    """On the event loop's clock."""
    session: bytes = b""
    session_sequence: int = 0
    forward: bool = True
    """False: refuse with NotLeaderError instead of forwarding it to the leader."""


class Read(NamedTuple):
    """Gets and Scans answered from one consistent state."""

    ticket: int
    operations: Sequence[Operation]
    deadline: float
    stale: bool = False
    """True: answer from what this node has applied, without asking the leader."""


Answer = list[Result] | DatabaseError
"""One result per operation, in order; or the error."""


class Answers(Protocol):
    """The callback that receives answers, many at a time, on the event loop's thread."""

    def __call__(self, answered: list[tuple[int, Answer]], /) -> None:
        """Take the answers of these tickets; each ticket is answered exactly once."""
        ...


Delivery = tuple[Answers, list[tuple[int, Answer]]]
"""The callback of a caller and its argument."""


@dataclass(frozen=True, slots=True)
class ReadAge:
    """How old a stale read may be: seconds since a leader's last message arrived."""

    seconds: float
