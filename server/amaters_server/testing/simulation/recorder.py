"""What all members of a simulated cluster must agree on, noted as it happens.

Each check that fails says its name first, so that the tests can name the one that caught a mutant.
"""

from collections.abc import Iterable, Sequence

from typing_extensions import override

from amaters_server.machine.machine import Applied, Machine
from amaters_server.model.replication import Committed
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.memory import MemoryEngine
from amaters_server.testing.simulation.model import Model

LogPosition = tuple[int, int]
"""Index and term of a log entry."""
_TERM_BYTES = 8
"""A row of the log begins with the entry's term."""


class Recorder:
    """Everything that all members must agree on, and whether they do."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        self.violations: list[str] = []
        self.trace: list[str] = []
        self.model = Model()
        self._applied: dict[int, tuple[int, bytes, bytes]] = {}
        self._logged: dict[LogPosition, bytes] = {}
        self._before: dict[LogPosition, LogPosition] = {}

    def accuse(self, check: str, text: str) -> None:
        """Note a broken promise."""
        self.violations.append(f"{check}: {text}")

    def led(self, node: int, term: int, *, votes: bool) -> None:
        """Note a leader; there must be one at most in each term, and it must be a voter."""
        known = self.leaders.setdefault(term, node)
        if known != node:
            self.accuse("one leader per term", f"members {known} and {node} led in term {term}")
        if not votes:
            self.accuse("voters only", f"member {node} leads in term {term} and is a learner")

    def logged(self, node: int, changes: Changes) -> None:
        """Note what a member wrote of its log: equal index and term mean equal logs up to there.

        Only what reached a disk counts: a group of one may lose a term that no one received.
        """
        last: LogPosition | None = None
        for space, key, row in changes.operations:
            if space is not Space.LOG or row is None:
                continue
            place = (int.from_bytes(key, "big"), int.from_bytes(row[:_TERM_BYTES], "big"))
            agrees = self._logged.setdefault(place, row) == row
            if last is not None and last[0] + 1 == place[0]:
                agrees &= self._before.setdefault(place, last) == last
            if not agrees:
                self.accuse("log matching", f"member {node} logs another entry at {place}")
            last = place

    def applied(self, node: int, entry: Committed) -> None:
        """Note an applied entry; it must be the same at the same index everywhere, for ever."""
        found = (entry.term, entry.data, entry.context)
        known = self._applied.get(entry.index)
        if known is None:
            self._applied[entry.index] = found
            self.model.add(entry)
        elif known != found:
            self.accuse("log matching", f"member {node} applied another entry at {entry.index}")

    def changed(self, node: int, index: int, changes: Changes) -> None:
        """Note what applying up to the index changed; the model must have changed likewise."""
        for space, key, value in changes.operations:
            if space is Space.DATA and self.model.value(key, index) != value:
                self.accuse(
                    "equal states",
                    f"member {node} holds {value!r} under {key!r} at index {index}, and should "
                    f"hold {self.model.value(key, index)!r}",
                )

    def state(self, node: int, index: int, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Note the whole data of a member."""
        if list(rows) != self.model.rows(index):
            self.accuse("equal states", f"all of member {node}'s data at index {index} is wrong")

    def acknowledged(self, values: Iterable[bytes | None]) -> None:
        """Record every write that callers got acknowledged."""
        for value in values:
            if value not in self.model.written:
                self.accuse("no acknowledged write lost", f"{value!r} is in no member's log")


class RecordingMachine(Machine):
    """The real state machine; everything it applies is compared with what others applied."""

    def __init__(self, engine: MemoryEngine, node: int, recorder: Recorder) -> None:
        super().__init__(engine)
        self._node = node
        self._recorder = recorder

    @override
    def apply(self, entries: Sequence[Committed]) -> Applied:
        """Apply the next entries."""
        applied = super().apply(entries)
        for entry in entries[: applied.count]:
            self._recorder.applied(self._node, entry)
        if applied.count:
            self._recorder.changed(self._node, entries[applied.count - 1].index, applied.changes)
        return applied
