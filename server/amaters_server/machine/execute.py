"""Runs commands: their answers, and how the data changes. Knows no log and no META."""

from collections.abc import Iterable, Sequence
from itertools import islice

from amaters_server.machine.overlay import ABSENT, Layer, Overlay, Updates
from amaters_server.machine.view import MachineView
from amaters_server.model.keys import DATA_KEYS_END
from amaters_server.model.queries import (
    NOT_KEPT,
    Columns,
    Filter,
    Get,
    Operation,
    Put,
    Remove,
    Result,
    Row,
    Scan,
    Update,
)
from amaters_server.storage.engine import Changes, Engine, Space

MOST_RESULT_BYTES = 16 * 1024 * 1024
"""What the reads of one command may return. The same on all members: sessions keep results."""


class Workspace:
    """The changes of one run of entries, on top of everything applied before it."""

    __slots__ = ("_engine", "_overlay", "batch", "clears")

    def __init__(self, overlay: Overlay, engine: Engine) -> None:
        self._overlay = overlay
        self._engine = engine
        self.batch: Updates = {}
        """The newest value of every key this run changed; None deletes."""
        self.clears = False
        """Whether this run deletes everything from before `batch`."""

    def clear(self) -> None:
        """Delete all data."""
        self.batch.clear()
        self.clears = True

    def run(self, operations: Sequence[Operation]) -> list[Result]:
        """Run the operations in order; each sees those before it."""
        if type(operations) is Columns:
            self.batch.update(zip(operations.keys, operations.values, strict=True))
            return [1] * len(operations)
        results: list[Result] = []
        left = MOST_RESULT_BYTES
        for operation in operations:
            result = self.run_one(operation, left)
            left = room_after(result, left)
            results.append(result)
        return results

    def scan(self, scan: Scan, most_bytes: int | None = None) -> list[Row] | None:
        """Return the rows of the range, at most its limit; None when they are too large."""
        view = self.view()
        try:
            rows = view.scan(scan.start, scan.end)
            return _gathered(islice(rows, scan.limit), most_bytes)
        finally:
            view.close()

    def view(self) -> MachineView:
        """Return a view of everything before it, this run's changes included; close it."""
        below = () if self.clears else self._overlay.layers()
        own = (Layer(dict(self.batch)),) if self.batch else ()
        hidden = self.clears or self._overlay.hides_engine
        return MachineView(None if hidden else self._engine.view(), (*below, *own))

    def data_changes(self) -> Changes:
        """Return what the engine has to hold for this run."""
        changes = Changes()
        if self.clears:
            changes.clear(Space.DATA, b"", DATA_KEYS_END)
        changes.operations = [(Space.DATA, key, value) for key, value in self.batch.items()]
        return changes

    def run_one(self, operation: Operation, left: int) -> Result:
        """Run one operation that is not slow; `left` is the room for what it reads."""
        match operation:
            case Put():
                self.batch[operation.key] = operation.value
                return 1
            case Remove():
                # Always 1, also for an absent key: what the published server answers.
                self.batch[operation.key] = None
                return 1
            case _ if left < 0:
                return NOT_KEPT
            case Get():
                return self._get(operation.key)
            case Scan():
                rows = self.scan(operation, left)
                return NOT_KEPT if rows is None else rows
            case Update() | Filter():
                raise TypeError(f"{type(operation).__name__} is carried out in slices")

    def _get(self, key: bytes) -> bytes | None:
        value = self.batch.get(key, ABSENT)
        if value is ABSENT:
            if self.clears:
                return None
            value = self._overlay.get(key, ABSENT)
        if value is not ABSENT:
            return value
        return None if self._overlay.hides_engine else self._engine.get(Space.DATA, key)


def room_after(result: Result, left: int) -> int:
    """Return the room for further reads of a command after one with this result."""
    if isinstance(result, bytes):
        return left - len(result)
    if isinstance(result, list):
        return left - sum([len(key) + len(value) for key, value in result])
    return -1 if result is NOT_KEPT else left


def _gathered(rows: Iterable[Row], most_bytes: int | None) -> list[Row] | None:
    if most_bytes is None:
        return list(rows)
    gathered: list[Row] = []
    for row in rows:
        most_bytes -= len(row[0]) + len(row[1])
        if most_bytes < 0:
            return None
        gathered.append(row)
    return gathered
