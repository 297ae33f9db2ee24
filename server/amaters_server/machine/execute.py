"""Runs commands: their answers, and how the data changes. Knows no log and no META."""

from collections.abc import Sequence
from itertools import islice

from amaters_server.machine.overlay import ABSENT, Overlay, Updates
from amaters_server.machine.view import MachineView, merged
from amaters_server.model.keys import DATA_KEYS_END
from amaters_server.model.queries import Columns, Get, Operation, Put, Remove, Result, Row, Scan
from amaters_server.storage.engine import Changes, Engine, Space


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
        return [self._run_one(operation) for operation in operations]

    def scan(self, scan: Scan) -> list[Row]:
        """Return the rows of the range, at most its limit."""
        below = {} if self.clears else self._overlay.values()
        hidden = self.clears or self._overlay.hides_engine
        view = MachineView(None if hidden else self._engine.view(), below)
        try:
            rows = merged(view.scan(scan.start, scan.end), self.batch, scan.start, scan.end)
            return list(islice(rows, scan.limit))
        finally:
            view.close()

    def data_changes(self) -> Changes:
        """Return what the engine has to hold for this run."""
        changes = Changes()
        if self.clears:
            changes.clear(Space.DATA, b"", DATA_KEYS_END)
        changes.operations = [(Space.DATA, key, value) for key, value in self.batch.items()]
        return changes

    def _run_one(self, operation: Operation) -> Result:
        match operation:
            case Put():
                self.batch[operation.key] = operation.value
                return 1
            case Remove():
                # Always 1, also for an absent key: what the published server answers.
                self.batch[operation.key] = None
                return 1
            case Get():
                return self._get(operation.key)
            case Scan():
                return self.scan(operation)

    def _get(self, key: bytes) -> bytes | None:
        value = self.batch.get(key, ABSENT)
        if value is ABSENT:
            if self.clears:
                return None
            value = self._overlay.get(key, ABSENT)
        if value is not ABSENT:
            return value
        return None if self._overlay.hides_engine else self._engine.get(Space.DATA, key)
