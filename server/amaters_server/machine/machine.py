"""The replicated state machine: entries in, answers and changes out.

Deterministic: the same entries give the same state and the same answers on every member. It reads
the engine and never writes it: the caller writes what `apply` changed, then calls `written`. All
methods belong to one thread; views may be used in others.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaters_server.machine import state
from amaters_server.machine.codec import Command, DecodedEntry, decode_entry
from amaters_server.machine.collection_count import (
    CollectionCount,
    CollectionCounter,
    Counts,
    RecentSizes,
    Sizes,
    sizes_after,
)
from amaters_server.machine.execute import Workspace
from amaters_server.machine.membership import decode_record
from amaters_server.machine.overlay import ABSENT, Overlay, Updates
from amaters_server.machine.replicated_state import ReplicatedState
from amaters_server.machine.state import SavedState
from amaters_server.machine.updates.evaluation import Evaluation
from amaters_server.machine.view import MachineView
from amaters_server.model.cluster import Membership
from amaters_server.model.errors import NotReadyError, StorageError
from amaters_server.model.keys import DATA_KEYS_END
from amaters_server.model.queries import Row, Scan
from amaters_server.model.replication import Committed, EntryKind, Outcome, ProposalNumber
from amaters_server.storage.engine import Changes, Engine, Space
from amaters_server.wire import command_pb2

log = logging.getLogger(__name__)

_DATA = Space.DATA
MANY_ROWS = 1000
"""A slow write of more rows is not copied for its readers."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of applying a run of entries."""

    changes: Changes
    """What the engine has to hold, including META, in one write."""
    outcomes: list[Outcome]
    """One per entry that a member proposed, in order."""
    members_changed: bool
    version: int
    """For `Machine.written`, once the engine holds the changes; 0: nothing was applied."""
    count: int = 0
    """How many of the entries, the first ones, are applied."""
    waits: bool = False
    """Whether the next one cannot go on before more is written; else it goes on at once."""


@dataclass(frozen=True, slots=True)
class _Slow:
    """An entry that is being carried out in slices."""

    entry: DecodedEntry
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class BackupSource:
    """Everything a backup contains, of one moment; the caller closes the view."""

    saved: SavedState
    view: MachineView


@dataclass(frozen=True, slots=True)
class Uncounted:
    """Rows to count; the caller closes the view."""

    view: MachineView
    count: CollectionCounter
    """Counts the changes since the view."""
    epoch: int
    """The result counts only while this is the epoch of `count`."""


OnChange = Callable[[int, Updates | None], None]
"""Takes the applied index and the changed data keys; None: any may have changed."""


class Machine:
    """The data and all other replicated state."""

    def __init__(self, engine: Engine) -> None:
        """Continue from what the engine holds."""
        self._engine = engine
        self._version = 0
        self._slow: _Slow | None = None
        self.on_change: OnChange | None = None
        """Called in the same turn in which readers begin to see a change."""
        self.reload()

    def reload(self) -> None:
        """Start over from what the engine holds now, such as after a snapshot was installed."""
        self._end_slow()
        self._continue_from(state.load(self._engine))
        self._suspended = False
        self._overlay = Overlay()
        if self.on_change is not None:
            self.on_change(self._replicated.index, None)

    @property
    def applied_index(self) -> int:
        """The last entry in the state, durable or not."""
        return self._replicated.index

    @property
    def version(self) -> int:
        """Counts the runs of entries that were applied."""
        return self._version

    @property
    def written_version(self) -> int:
        """The last run whose changes the engine holds."""
        return self._written

    @property
    def applied_term(self) -> int:
        """The term of that entry."""
        return self._replicated.term

    @property
    def membership(self) -> Membership | None:
        """The members as of the applied index; None before there is a cluster."""
        return self._replicated.membership

    @property
    def restoring(self) -> bool:
        """Whether a restore is in progress, so that clients must be refused."""
        return self._replicated.restoring is not None

    def newest_proposals(self) -> dict[int, ProposalNumber]:
        """Return the number of the newest applied proposal of every member."""
        return self._replicated.newest_proposals()

    def form(self, formed: Membership, *, index: int, term: int) -> Changes:
        """Start a cluster with these members as of that entry; returns what must be written."""
        self._continue_from(SavedState(index=index, term=term, membership=formed))
        return state.save_all(self._replicated.saved())

    def suspend(self) -> None:
        """Refuse reads and entries from now on, while a snapshot replaces everything.

        Everything applied must have been written before. `reload` ends it.
        """
        self._end_slow()
        self._suspended = True

    def apply(self, entries: Sequence[Committed]) -> Applied:
        """Apply the next entries, as far as that takes no time; reads see their effect at once.

        A slow entry takes several calls, each a slice of it, until it is applied as a whole.
        StorageCorruptedError when bytes do not decode: then nothing of the run is applied, and every
        other member fails on the same entry.
        """
        self._require_state()
        if self._slow is not None:
            return self._go_on(entries[0], self._slow)
        decoded = [_decode(entry) for entry in entries]
        for place, one in enumerate(decoded):
            command = one.slow if isinstance(one, DecodedEntry) else None
            if command is None or not isinstance(one, DecodedEntry):
                continue
            if place:  # What precedes it decides whether it is carried out.
                entries, decoded = entries[:place], decoded[:place]
                break
            if self._replicated.carries_out(one, command):
                return self._begin(entries[0], one, command)
        return self._apply_quick(entries, decoded)

    def _apply_quick(
        self,
        entries: Sequence[Committed],
        decoded: Sequence[DecodedEntry | command_pb2.MemberRecord | None],
    ) -> Applied:
        replicated, workspace = self._replicated, Workspace(self._overlay, self._engine)
        outcomes: list[Outcome] = []
        members_changed = False
        for entry, one in zip(entries, decoded, strict=True):
            if isinstance(one, DecodedEntry):
                outcomes.append(replicated.apply_commands(one, entry.data, workspace))
            elif one is not None and entry.conf_state is not None:
                replicated.apply_membership(one, entry.conf_state)
                members_changed = True
            replicated.index, replicated.term = entry.index, entry.term
        self._version += 1
        self._count(workspace)
        self._overlay.add(self._version, workspace.batch, clears=workspace.clears)
        if self.on_change is not None:
            self.on_change(replicated.index, None if workspace.clears else workspace.batch)
        changes = workspace.data_changes()
        replicated.save(changes)
        return Applied(changes, outcomes, members_changed, self._version, len(entries))

    def _begin(self, entry: Committed, decoded: DecodedEntry, command: Command) -> Applied:
        if self._overlay.holds_many:
            # So there is never more in memory than one of them writes; `written` goes on.
            return Applied(Changes(), [], members_changed=False, version=0, count=0, waits=True)
        workspace = Workspace(self._overlay, self._engine)
        evaluation = Evaluation(workspace, command.operations, self._measure_newest)
        self._slow = _Slow(decoded, evaluation)
        return self._go_on(entry, self._slow)

    def _go_on(self, entry: Committed, slow: "_Slow") -> Applied:
        if not slow.evaluation.advance():
            return Applied(Changes(), [], members_changed=False, version=0, count=0)
        self._slow = None
        replicated, evaluation, gathered = (
            self._replicated,
            slow.evaluation,
            slow.evaluation.gathered,
        )
        workspace = Workspace(self._overlay, self._engine)
        outcome = replicated.apply_commands(slow.entry, entry.data, workspace, evaluation.answer)
        replicated.index, replicated.term = entry.index, entry.term
        self._version += 1
        if gathered.keys:
            for prefix, (keys, size) in gathered.growth.items():
                replicated.collection_count.grow(prefix, keys, size)
            if gathered.uncounted:
                replicated.collection_count.forget()
            self._recent.clear()
            self._sizes_lost_at = self._version
        in_order = gathered.keys if len(gathered.keys) > MANY_ROWS else None
        self._overlay.add(self._version, evaluation.batch, clears=False, keys=in_order)
        if self.on_change is not None:
            # Many keys would take long to look through: all answers are dropped instead.
            self.on_change(replicated.index, evaluation.batch if in_order is None else None)
        replicated.save(gathered.changes)
        return Applied(gathered.changes, [outcome], False, self._version, 1)  # noqa: FBT003

    def written(self, version: int) -> None:
        """Report that the engine holds everything up to that apply."""
        self._written = version
        self._overlay.written(version)

    def get(self, key: bytes) -> bytes | None:
        """Return the newest value under the data key, or None."""
        overlay = self._overlay
        value = overlay.get(key, ABSENT)
        if value is not ABSENT:
            return value
        if self._suspended or overlay.hides_engine:
            self._require_state()
            return None
        return self._engine.get(_DATA, key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the newest values under the data keys, in their order."""
        overlay = self._overlay
        if self._suspended or overlay.hides_engine:
            return [self.get(key) for key in keys]
        if not overlay:
            return self._engine.get_many(_DATA, keys)
        values = [overlay.get(key, ABSENT) for key in keys]
        unknown = [key for key, value in zip(keys, values, strict=True) if value is ABSENT]
        if not unknown:
            return values
        stored = iter(self._engine.get_many(_DATA, unknown))
        return [next(stored) if value is ABSENT else value for value in values]

    def scan(self, scan: Scan) -> list[Row]:
        """Return the newest rows of the range, at most its limit."""
        self._require_state()
        return Workspace(self._overlay, self._engine).scan(scan) or []

    def view(self) -> MachineView:
        """Return a view of the present state; the caller closes it."""
        self._require_state()
        below = None if self._overlay.hides_engine else self._engine.view()
        return MachineView(below, self._overlay.layers())

    def backup_source(self) -> BackupSource:
        """Return what a backup of the present state contains."""
        return BackupSource(self._replicated.saved(), self.view())

    # --- how much there is ----------------------------------------------------

    @property
    def total(self) -> CollectionCount | None:
        """The count of all rows; None while it is unknown."""
        return None if self._suspended else self._replicated.collection_count.total

    def counts(self) -> Counts | None:
        """Return the counts of all collections; None while they are unknown."""
        return None if self._suspended else self._replicated.collection_count.counts()

    def uncounted(self) -> Uncounted | None:
        """Return the rows to count if their count is unknown; `counted` takes the result."""
        count = self._replicated.collection_count
        if count.complete or self._suspended:
            return None
        view = self.view()
        count.forget()
        return Uncounted(view, count, count.epoch)

    def counted(self, uncounted: Uncounted, counts: Counts) -> Changes | None:
        """Set the counts of those rows; None when they are no longer needed.

        Returns what the engine has to hold, after everything that was applied.
        """
        count = self._replicated.collection_count
        if (count, count.epoch) != (uncounted.count, uncounted.epoch) or self._suspended:
            return None
        count.complete_with(counts)
        changes = Changes()
        self._replicated.save_counts(changes)
        return changes

    def _continue_from(self, saved: SavedState) -> None:
        self._replicated = ReplicatedState(saved)
        if saved.counts is None and self._is_empty():
            # An earlier version may have written since the stored counts: they are void.
            self._replicated.collection_count.clear()
        self._recent = RecentSizes()
        self._written = self._sizes_lost_at = self._version

    def _is_empty(self) -> bool:
        view = self._engine.view()
        try:
            return next(view.scan(_DATA, b"", DATA_KEYS_END), None) is None
        finally:
            view.close()

    def _count(self, workspace: Workspace) -> None:
        """Count what the run changes; after a failed read, all rows are counted again later."""
        count, recent, batch = self._replicated.collection_count, self._recent, workspace.batch
        if workspace.clears:
            recent.clear()
            count.clear()
        if not batch:
            return
        hidden = workspace.clears or self._overlay.hides_engine
        after = sizes_after(batch)
        try:
            before = recent.sizes(batch, _nothing if hidden else self._measure)
        except StorageError as error:
            log.warning("collection_count.lost", extra={"reason": str(error)})
            count.forget()
        else:
            count.take(batch, before, after)
        recent.note(batch, after, version=self._version, written=self._written)

    def _measure(self, keys: list[bytes]) -> list[int]:
        if self._sizes_lost_at > self._written:
            return self._measure_newest(keys)
        return _sizes(keys, self._engine.get_many(_DATA, keys))

    def _measure_newest(self, keys: list[bytes]) -> list[int]:
        """Measure rows that the engine may not hold yet."""
        return _sizes(keys, self.get_many(keys))

    def _end_slow(self) -> None:
        if self._slow is not None:
            self._slow.evaluation.close()
            self._slow = None

    def _require_state(self) -> None:
        if self._suspended:
            raise NotReadyError("its data is being replaced by a snapshot of another member")


def _sizes(keys: list[bytes], values: list[bytes | None]) -> Sizes:
    pairs = zip(keys, values, strict=True)
    return [0 if value is None else len(key) + len(value) for key, value in pairs]


def _nothing(keys: list[bytes]) -> list[int]:
    return [0] * len(keys)


def _decode(entry: Committed) -> DecodedEntry | command_pb2.MemberRecord | None:
    if entry.kind is EntryKind.CONF_CHANGE:
        return decode_record(entry.context, index=entry.index)
    return decode_entry(entry.data, index=entry.index) if entry.data else None
