"""Drives a raft-rs node without I/O: what to send, write and apply, in the order raft demands.

This module alone ensures that

- entries and hard state are durable before a message that depends on them leaves; a leader sends
  its entries while they are being written to its own disk;
- batches become durable in the order they were handed out; `persisted` covers all up to one;
- applied state joins the next write of the log: reads see it before, and after a crash the log
  above the durable applied index is applied again;
- nothing is dropped from the log before the state that contains it has been written;
- an entry that takes a while is applied a slice with every `advance`, and those after it wait.
"""

from collections import deque
from collections.abc import Sequence

from amaters_server.model.replication import Committed, EntryKind
from amaters_server.raft.log import Log, LogRetention
from amaters_server.raft.outbox import Batch, Outbox, Snapshot
from amaters_server.raft.ports import Applier
from amaters_server.raft.raft_node import (
    ENTRY_CONF_CHANGE,
    ConsensusError,
    Entry,
    Message,
    MessageKind,
    RaftNode,
    Ready,
    from_native,
)
from amaters_server.storage.engine import Changes

MAX_RETAINED_FACTOR = 8
"""A snapshot being sent retains at most so many times the usual log."""


class Driver:
    """One member: inputs first, then `advance`, then its shell carries out the outbox."""

    def __init__(
        self, raft_node: RaftNode, applier: Applier, log: Log, retention: LogRetention
    ) -> None:
        self.raft_node = raft_node
        """For reading its properties; its inputs go through this driver."""
        self._applier = applier
        self._log = log
        self._retention = retention
        self._hold = 0
        self._incarnation = 0
        """The newest one that this driver has written; 0: none."""
        self._voted: tuple[int, int] | None = None
        """The term and the vote that this driver has written last."""
        self._next = Batch(token=1)
        self._in_flight: deque[Batch] = deque()
        self._released: list[Message] = []
        self._installing: Ready | None = None
        self._committed: deque[Entry] = deque()
        """What is committed and was not given to the applier yet."""
        self._run: list[Committed] = []
        """What the applier was given, and has not applied yet."""
        self._written_applied = applier.applied_index
        self.compactions = 0
        self.entries_applied = 0
        self.entries_appended = 0

    # --- inputs ---------------------------------------------------------------

    @property
    def installing(self) -> bool:
        """Whether a snapshot is being installed: ticks and messages are dropped meanwhile."""
        return self._installing is not None

    @property
    def idle(self) -> bool:
        """Whether everything handed out is written."""
        return not self._in_flight

    def tick(self) -> None:
        """Let one tick pass."""
        if not self.installing:
            self.raft_node.tick()

    def step(self, message: bytes, *, fetched: bool = False) -> tuple[MessageKind, int] | None:
        """Process a message of another member; return its kind and sender, None while installing.

        A snapshot is only checked unless it is `fetched`. ConsensusError for a refused message.
        """
        return None if self.installing else self.raft_node.step(message, hold_snapshot=not fetched)

    def persisted(self, token: int) -> None:
        """Report that this batch and all before it are written (durable, if it has `sync`)."""
        ready = 0
        newest: Batch | None = None
        while self._in_flight and self._in_flight[0].token <= token:
            newest = self._in_flight.popleft()
            ready = max(ready, newest.ready)
            self._released += newest.messages
            self._written_applied = max(self._written_applied, newest.applied)
        if ready:
            self.raft_node.on_persist_ready(ready)
        if newest is not None and newest.version:
            self._applier.written(newest.version)

    @property
    def written_applied(self) -> int:
        """The last applied entry whose effect the engine holds."""
        return self._written_applied

    def renew(self, incarnation: int) -> int:
        """Write a new incarnation; it is durable once the batch of the returned token is."""
        self._incarnation = incarnation
        self._log.put_incarnation(self._next.changes, incarnation)
        self._next.sync = self._next.vote = True
        return self._next.token

    def hold_log(self, index: int) -> None:
        """Retain the log above this index for a snapshot being sent; 0 ends that."""
        self._hold = index

    def add(self, changes: Changes) -> None:
        """Write changes that follow from what was applied so far."""
        self._next.changes.extend(changes)

    # --- outputs --------------------------------------------------------------

    def advance(self, out: Outbox, *, flush: bool = False) -> None:
        """Do all that can be done now; with `flush`, also write what would otherwise wait."""
        out.messages += self._released
        self._released = []
        if self._run:
            self._apply_some(out)
        while not self.installing and self.raft_node.has_ready():
            self._take(self.raft_node.ready(), out)
        out.snapshots_wanted += self.raft_node.take_snapshot_requests()
        if flush and not self.installing:
            self._compact()
        if self._next.sync or self._next.ready or (flush and self._next.changes):
            out.writes.append(self._hand_out())

    def _take(self, ready: Ready, out: Outbox) -> None:
        out.messages += ready.messages
        out.read_states += ready.read_states
        if ready.soft_state is not None:
            out.leadership = ready.soft_state
        if ready.snapshot is not None:
            self._installing = ready
            self._committed.clear()
            self._run = []
            index, term, conf_state, data = ready.snapshot
            out.install = Snapshot(index, term, from_native(conf_state), data)
            return
        self._record(ready, out)
        if ready.committed:
            self._apply(ready.committed, out)

    def _record(self, ready: Ready, out: Outbox) -> None:
        entries, hard_state = ready.entries, ready.hard_state
        if entries:
            self._log.append(self._next.changes, entries)
            self.entries_appended += len(entries)
        if hard_state is not None:
            self._log.put_hard_state(self._next.changes, hard_state)
            if hard_state[:2] != self._voted:
                self._voted, self._next.vote = hard_state[:2], True
        if entries or ready.must_sync:
            self._next.sync = True
            self._next.cover(ready)
        elif self._next.ready:
            self._next.cover(ready)
        elif self._in_flight:
            self._in_flight[-1].cover(ready)
        else:
            self.raft_node.on_persist_ready(ready.number)
            out.messages += ready.persisted_messages

    def _apply(self, committed: Sequence[Entry], out: Outbox) -> None:
        self._committed.extend(committed)
        if not self._run:
            self._apply_some(out)

    def _apply_some(self, out: Outbox) -> None:
        """Apply what is committed, up to an entry that takes a while, and a slice of that."""
        while self._run or self._committed:
            if not self._run:
                self._run = self._next_run(out)
            applied = self._applier.apply(self._run)
            if not applied.count:
                out.unfinished = not applied.waits
                return
            last = self._run[applied.count - 1].index
            del self._run[: applied.count]
            self._next.changes.extend(applied.changes)
            self._next.version = applied.version
            self._next.applied = last
            out.outcomes += applied.outcomes
            out.members_changed |= applied.members_changed
            self.entries_applied += applied.count
            self.raft_node.advance_apply_to(last)

    def _next_run(self, out: Outbox) -> list[Committed]:
        """Take entries for the applier; a change of the members only as the first of them.

        So raft takes a change of its configuration in when it is sure to be applied now.
        """
        committed = self._committed
        run = [self._as_committed(committed.popleft(), out)]
        while committed and committed[0][2] != ENTRY_CONF_CHANGE:
            run.append(self._as_committed(committed.popleft(), out))
        return run

    def _as_committed(self, entry: Entry, out: Outbox) -> Committed:
        index, term, kind, data, context = entry
        if kind != ENTRY_CONF_CHANGE:
            return Committed(index, term, EntryKind.NORMAL, data)
        try:
            state = from_native(self.raft_node.apply_conf_change(data))
        except ConsensusError:
            # It contradicts the configuration, on every member alike: it changes nothing.
            return Committed(index, term, EntryKind.CONF_CHANGE, data, context)
        out.conf_contexts.append(context)
        return Committed(index, term, EntryKind.CONF_CHANGE, data, context, state)

    def _hand_out(self) -> Batch:
        batch = self._next
        self._in_flight.append(batch)
        self._next = Batch(token=batch.token + 1)
        return batch

    # --- snapshots ------------------------------------------------------------

    def installed(self, changes: Changes, out: Outbox) -> None:
        """Continue after a snapshot was installed; the state machine is at its index already.

        `changes` end the installation, and the log restarts in the same write. Nothing may be in
        flight.
        """
        ready, self._installing = self._installing, None
        if ready is None or ready.snapshot is None:
            raise RuntimeError("no snapshot is being installed")
        index, term = ready.snapshot[0], ready.snapshot[1]
        self._next = Batch(self._next.token, changes, sync=True, vote=True, applied=index)
        self._log.restart_at(changes, index, term)
        if self._incarnation:  # It may have waited in the batch that this one replaces.
            self._log.put_incarnation(changes, self._incarnation)
        out.members_changed = True
        self._record(ready, out)
        if ready.committed:
            self._apply(ready.committed, out)
        out.writes.append(self._hand_out())

    # --- compaction -----------------------------------------------------------

    def _compact(self) -> None:
        """Drop what exceeds the retention, in steps, so that most ticks write nothing."""
        first, last = self.raft_node.first_index(), self.raft_node.last_index()
        count, size = last - first + 1, self.raft_node.log_bytes()
        if count <= self._retention.entries * 5 // 4 and size <= self._retention.bytes * 5 // 4:
            return
        drop = max(count - self._retention.entries, 0)
        if size > self._retention.bytes:
            drop = max(drop, count - count * self._retention.bytes // size)
        hold = self._hold if count <= self._retention.entries * MAX_RETAINED_FACTOR else 0
        target = min(first + drop - 1, self._written_applied, hold or last)
        if target < first:
            return
        term = self.raft_node.term_of(target)
        self.raft_node.compact(target)
        self._log.compact(self._next.changes, target, term)
        self.compactions += 1
