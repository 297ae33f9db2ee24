"""A slow write while it is carried out: a slice at a time, and nobody sees it before its end.

It reads the state that it began with, which does not change meanwhile: entries are applied in order.
"""

from collections.abc import Generator, Iterator, Sequence
from itertools import islice

from amaters.wire.types_pb2 import Predicate
from google.protobuf.message import DecodeError

from amaters_server.machine.execute import MOST_RESULT_BYTES, Workspace, room_after
from amaters_server.machine.updates.arithmetic import (
    LONGEST_PLAIN,
    Updates,
    ciphertext,
    compressed,
    data_of,
    is_compressed,
)
from amaters_server.machine.updates.changes import Gathered, Measure
from amaters_server.machine.updates.predicates import Test, compiled
from amaters_server.model.errors import DatabaseError, MalformedError
from amaters_server.model.keys import collection_of
from amaters_server.model.queries import (
    NOT_KEPT,
    Answer,
    Filter,
    Operation,
    Result,
    Row,
    Update,
)
from amaters_server.model.update_errors import UpdateTooLargeError

ROWS_PER_SLICE = 256
"""About a millisecond of work."""
BYTES_PER_SLICE = 256 * 1024
ADMIN_PREFIX = b"__admin__:"
"""How keys begin that are commands: an update leaves such rows alone."""


class Evaluation:
    """The answer and the changes of one slow write, in the making."""

    def __init__(
        self, workspace: Workspace, operations: Sequence[Operation], measure: Measure
    ) -> None:
        self._workspace = workspace
        self._operations = operations
        self._measure = measure
        self._known: dict[bytes, int] = {}
        """The sizes that updated rows had in the state before."""
        self._left = MOST_RESULT_BYTES
        self._steps = self._carried_out()
        self.answer: Answer = []
        self.gathered = Gathered()
        """Empty when the answer is an error."""

    @property
    def batch(self) -> dict[bytes, bytes | None]:
        """The new values, once it has ended."""
        return self._workspace.batch

    def advance(self) -> bool:
        """Carry out one slice; returns whether it has ended."""
        return next(self._steps, _ENDED) is _ENDED

    def close(self) -> None:
        """Give it up; releases what it reads from."""
        self._steps.close()

    def _carried_out(self) -> Generator[None, None, None]:
        results: list[Result] = []
        try:
            for operation in self._operations:
                result = yield from self._one(operation)
                if not isinstance(operation, Update):
                    self._left = room_after(result, self._left)
                results.append(result)
        except DatabaseError as error:
            error.place = len(results)
            self._workspace.batch.clear()
            self.answer = error
        else:
            yield from self.gathered.steps(self._workspace, self._known, self._measure)
            self.answer = results

    def _one(self, operation: Operation) -> Generator[None, None, Result]:
        match operation:
            case Update():
                return (yield from self._update(operation))
            case Filter() if self._left < 0:
                return NOT_KEPT
            case Filter():
                return (yield from self._filter(operation))
            case _:
                return self._workspace.run_one(operation, self._left)

    def _update(self, update: Update) -> Generator[None, None, int]:
        changing = _Changing(update, self._workspace.batch, self._known)
        view = self._workspace.view()
        try:
            rows = view.scan(update.start, update.end)
            while changing.some(rows):
                yield
        finally:
            view.close()
        return changing.affected

    def _filter(self, wanted: Filter) -> Generator[None, None, Result]:
        view = self._workspace.view()
        try:
            filtering = Filtering(wanted, self._left, most_rows=wanted.most_rows)
            rows = view.scan(wanted.start, wanted.end)
            while filtering.some(rows):
                yield
        finally:
            view.close()
        return NOT_KEPT if filtering.is_too_large else filtering.found


class _Changing:
    """One update, row by row."""

    def __init__(
        self, update: Update, batch: dict[bytes, bytes | None], known: dict[bytes, int]
    ) -> None:
        self._update = update
        self._matches = test_of(update.predicate)
        self._updates = Updates(update.updates, created_at=update.created_at)
        self._batch, self._known = batch, known
        self._prefix = collection_of(update.start)
        self._looked_at = self._bytes = 0
        self.affected = 0

    def some(self, rows: Iterator[Row]) -> bool:
        """Change the rows of one slice; returns whether there may be more."""
        matches, batch, known = self._matches, self._batch, self._known
        new, computes = self._updates.stored, self._updates.computes
        commands = self._prefix + ADMIN_PREFIX
        count = size = 0
        for key, value in islice(rows, ROWS_PER_SLICE):
            count += 1
            data = data_of(value)
            if len(data) > LONGEST_PLAIN:
                raise ciphertext(self._named(key), len(data))
            if not matches(data) or key.startswith(commands):
                continue
            if computes and is_compressed(value):
                raise compressed(self._named(key))
            if key not in batch:
                known[key] = len(key) + len(value)
            batch[key] = changed = new(data)
            size += len(key) + len(changed)
            self.affected += 1
        self._count(count, size)
        return count == ROWS_PER_SLICE

    def _count(self, rows: int, size: int) -> None:
        update = self._update
        self._looked_at += rows
        self._bytes += size
        if self._looked_at > update.most_rows:
            raise UpdateTooLargeError(
                "the number of rows to look at", limit=update.most_rows, key="max_update_rows"
            )
        if self._bytes > update.most_bytes:
            raise UpdateTooLargeError(
                "the number of bytes to write", limit=update.most_bytes, key="max_update_mb"
            )

    def _named(self, key: bytes) -> str:
        return f"the value of key {key[len(self._prefix) :][:64]!r}"


class Filtering:
    """One filter, row by row."""

    def __init__(self, wanted: Filter, most_bytes: int, *, most_rows: int | None = None) -> None:
        self._matches = test_of(wanted.predicate)
        self._skip = wanted.offset
        self._wanted = wanted.limit
        self._left = most_bytes
        self._most_rows = most_rows
        self._looked_at = 0
        self.found: list[Row] = []

    @property
    def is_too_large(self) -> bool:
        """Whether the rows are more than fit; then `found` says nothing."""
        return self._left < 0

    def some(self, rows: Iterator[Row]) -> bool:
        """Look at the rows of one slice; returns whether there may be more."""
        count = size = 0
        for row in rows if self._wanted != len(self.found) else ():
            count += 1
            size += len(row[1])
            if self._matches(data_of(row[1])):
                self._take(row)
            done = self._left < 0 or len(self.found) == self._wanted
            if done or count == ROWS_PER_SLICE or size > BYTES_PER_SLICE:
                self._count(count)
                return not done
        self._count(count)
        return False

    def _count(self, rows: int) -> None:
        self._looked_at += rows
        if self._most_rows is not None and self._looked_at > self._most_rows:
            raise UpdateTooLargeError(
                "the number of rows to look at", limit=self._most_rows, key="max_update_rows"
            )

    def _take(self, row: Row) -> None:
        if self._skip:
            self._skip -= 1
            return
        self._left -= len(row[0]) + len(row[1])
        if self._left >= 0:
            self.found.append(row)


def test_of(predicate: bytes) -> Test:
    """Return the test that a serialized predicate is."""
    try:
        return compiled(Predicate.FromString(predicate))
    except DecodeError as wrong:
        raise MalformedError("this is no Predicate") from wrong


_ENDED = object()
