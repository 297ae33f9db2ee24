"""The asyncio shell around one replica: ticks, the storage thread, messages, answers.

Nothing is scheduled per call: everything that arrives during one turn of the event loop goes
through the replica together, once.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from amaters_server.model.errors import (
    DatabaseError,
    OutcomeUnknownError,
    StorageError,
    StorageFullError,
)
from amaters_server.model.queries import Answers, Delivery, Read
from amaters_server.node.loop import disk_room
from amaters_server.node.loop.answering import Reader
from amaters_server.node.loop.disk_room import RoomGuard
from amaters_server.node.loop.storage import StorageReports, StorageThread, Written
from amaters_server.node.parts import Parts
from amaters_server.node.ports import LoopEvents
from amaters_server.node.values import DiskReport
from amaters_server.raft.outbox import Outbox, Snapshot
from amaters_server.raft.proposal import WaitingCommand
from amaters_server.raft.raft_node import ConsensusError, FarTerm, Message
from amaters_server.raft.replica import Replica
from amaters_server.storage.engine import Changes

log = logging.getLogger(__name__)

MAX_KEPT_DURATIONS = 10_000
APPENDS = frozenset({"append", "commit_notice"})
ASKS_FOR_VOTES = frozenset({"pre_vote_request", "vote_request"})


@dataclass(slots=True)
class _LastSeen:
    """What the loop has seen last; times are on the node's clock."""

    leader: float = 0.0
    unreachable: set[int] = field(default_factory=set)
    refusal: tuple[int, str] = (0, "")


class ReplicaLoop:
    """Drives one replica. All methods belong to the event loop."""

    def __init__(self, replica: Replica, parts: Parts, events: LoopEvents) -> None:
        self.replica = replica
        # Of the cycles: what one does belongs to no caller, nor do the lines that it logs.
        self._context = contextvars.Context()
        self.timing = parts.settings.timing
        self.full: StorageFullError | None = None
        """Set while the disk is full."""
        self.low: StorageFullError | None = None
        """Set while the disk has less room than has to stay free."""
        self.quorum_low: StorageFullError | None = None
        """Set while this node leads and so many others are low that no quorum has room."""
        self._parts = parts
        self._events = events
        self._event_loop = asyncio.get_running_loop()
        self._scheduled = False
        self._running = False
        self._timer: asyncio.TimerHandle | None = None
        self._awaiting: Snapshot | None = None
        self._last_seen = _LastSeen()
        self._empty: asyncio.Event | None = None
        self._reader = Reader(parts.machine, parts.answers, parts.clock.now)
        self.answer = self._reader.answer
        """Answers reads from the state as it is now."""
        reports = StorageReports(self._post, self._written, self._full, self._low, self._failed)
        self._guard = RoomGuard(parts.settings.min_free_bytes)
        window = parts.settings.sync_seconds
        self.storage = StorageThread(parts.engine, reports, sync_seconds=window, guard=self._guard)

    def start(self) -> None:
        """Start to tick."""
        self._running = True
        self._last_seen.leader = self._parts.clock.now()
        self.storage.start()
        self._ticked()

    async def stop(self, why: DatabaseError) -> None:
        """Answer what waits, write what was handed out, end the storage thread."""
        self._halt(why)
        await asyncio.to_thread(self.storage.stop)
        await self._reader.ended(1.0)

    async def drained(self, seconds: float) -> None:
        """Return once no call waits for an answer, or after that time."""
        self._empty = asyncio.Event()
        if not self._waiting:
            return
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._empty.wait()
        except TimeoutError:
            log.warning("node.calls_abandoned", extra={"waiting": self._waiting})

    @property
    def _waiting(self) -> int:
        return self.replica.waiting + self._reader.waiting

    def _halt(self, why: DatabaseError) -> None:
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        self._deliver(self.replica.abandon(why))
        self._reader.abandon(why)

    # --- what arrives ---------------------------------------------------------

    def write(self, writes: Sequence[WaitingCommand], answers: Answers) -> None:
        """Take writes in; StorageFullError at once for those that the disk has no room for."""
        if self.full or self.low or self.quorum_low:
            writes, refused = disk_room.split(writes, full=self.full is not None)
            if refused:
                self._parts.counters.writes_without_room += len(refused)
                answers([(write.ticket, self._without_room()) for write in refused])
            if not writes:
                return
        self._parts.counters.proposed_writes += len(writes)
        if self._parts.traces is not None:
            self._parts.traces.waits(writes)
        self.replica.write(writes, answers, self._parts.clock.now())
        self.kick()

    def read(self, reads: Sequence[Read], answers: Answers) -> None:
        """Take linearizable reads in."""
        self._parts.counters.reads += len(reads)
        self.replica.read(reads, answers, self._parts.clock.now())
        self.kick()

    def disk(self) -> DiskReport:
        """Return the room on the disk, and whether writes are refused for it."""
        return self._guard.report(full=self.full is not None)

    def _without_room(self) -> DatabaseError:
        """Return why a write is refused here, and which member leads, if another does."""
        elsewhere = self.replica.leader not in (0, self.replica.origin.node_id)
        why = None if elsewhere else self.full or self.low or self.quorum_low
        return why or self.replica.not_leader()

    def receive(self, sender: int, messages: Sequence[bytes]) -> None:
        """Process messages of another member, in order."""
        counters, step = self._parts.counters, self.replica.step
        counters.messages_received += len(messages)
        now = self._parts.clock.now()
        self.replica.note_contact(sender, now)
        if sender == self.replica.leader:
            self._last_seen.leader = now
        for message in messages:
            if not step(message, now):
                self._log_refusal(sender)
                if isinstance(self.replica.refusal, FarTerm):
                    self._events.far_term(sender)
        self.kick()

    def connected(self, member: int) -> None:
        """Take note of a new connection to another member."""
        self.replica.connected(member)
        self.kick()

    def _log_refusal(self, sender: int) -> None:
        """Log why a message was refused; once, for as long as the reason stays the same."""
        refusal = (sender, str(self.replica.refusal))
        if refusal != self._last_seen.refusal:
            self._last_seen.refusal = refusal
            log.warning("raft.message_refused", extra={"sender": sender, "reason": refusal[1]})

    def leader_silence(self) -> float:
        """Return the seconds since the last message of a leader."""
        return self._parts.clock.now() - self._last_seen.leader

    def kick(self) -> None:
        """Have a cycle run in this turn of the event loop, after everything else that arrived."""
        if not self._scheduled and self._running:
            self._scheduled = True
            self._event_loop.call_soon(self._cycle, context=self._context)

    def fail(self, why: str) -> None:
        """Stop for good: what is on the disk is needed to go on, and cannot be had."""
        self._failed(StorageError(why))

    def resume(self, changes: Changes) -> None:
        """Go on after a snapshot was installed; the changes end the installation."""
        try:
            outbox = self.replica.installed(changes, self._parts.clock.now())
        except Exception as error:  # noqa: BLE001 As in `_advance`.
            self._cannot_go_on(error)
        else:
            self._carry_out(outbox)
            self.kick()

    # --- the cycle ------------------------------------------------------------

    def _cycle(self) -> None:
        self._scheduled = False
        if self._running:
            self._advance(flush=False)

    def _advance(self, *, flush: bool) -> None:
        try:
            outbox = self.replica.advance(self._parts.clock.now(), flush=flush)
        except Exception as error:  # noqa: BLE001 What raft handed out is lost with it.
            self._cannot_go_on(error)
        else:
            self._carry_out(outbox)

    def _cannot_go_on(self, error: Exception) -> None:
        """Stop for good: to go on would leave out entries that others apply."""
        if isinstance(error, DatabaseError):
            self._failed(StorageError(f"replication cannot go on: {error}"))
            return
        if not isinstance(error, ConsensusError):
            log.error("replication.defect", exc_info=error)
        why = str(error) if isinstance(error, ConsensusError) else repr(error)
        self._failed(StorageError(f"replication cannot go on: {why}; restart this node"))

    def _carry_out(self, outbox: Outbox) -> None:
        if outbox.messages:
            self._send(outbox.messages)
        for batch in outbox.writes:
            self.storage.submit(batch)
        for waiting in outbox.reads:
            self.answer(waiting.reads, waiting.answers)
        if outbox.deliveries or self._empty is not None:
            self._deliver(outbox.deliveries)
        for offer in outbox.offers:
            self._events.snapshot_offered(offer)
        if outbox.unfinished:
            self.kick()
        self._report(outbox)

    def _report(self, outbox: Outbox) -> None:
        events = self._events
        if outbox.members_changed:
            events.members_changed()
        if outbox.conf_contexts:
            events.changes_applied(outbox.conf_contexts)
        if outbox.leadership is not None:
            self._last_seen.leader = self._parts.clock.now()
            events.leader_changed(*outbox.leadership)
        if outbox.renewal is not None:
            log.warning("raft.incarnation_taken", extra={"incarnation": outbox.renewal.incarnation})
        if outbox.snapshots_wanted:
            events.snapshots_wanted(outbox.snapshots_wanted)
        if outbox.install is not None:
            self._awaiting = outbox.install
        if self._awaiting is not None and self.replica.driver.idle:
            snapshot, self._awaiting = self._awaiting, None
            events.install(snapshot)

    def _send(self, messages: Sequence[Message]) -> None:
        traces = self._parts.traces
        by_member = {} if traces is None else traces.notes()
        counters = self._parts.counters
        for to, kind, message in messages:
            if kind in APPENDS:
                counters.appends_sent += 1
            elif kind in ASKS_FOR_VOTES:
                counters.votes_asked += 1
            if to in by_member:
                by_member[to].append(message)
            else:
                by_member[to] = [message]
        for to, some in by_member.items():
            if self._parts.transport.send(to, some):
                counters.messages_sent += len(some)
            else:
                counters.messages_dropped += len(some)
                self._last_seen.unreachable.add(to)

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        for answers, answered in deliveries:
            if answered:
                answers(answered)
        if self._empty is not None and not self._waiting:
            self._empty.set()

    # --- ticks and the storage thread -----------------------------------------

    def _ticked(self) -> None:
        now = self._parts.clock.now()
        self._timer = self._event_loop.call_later(self.timing.tick, self._ticked)
        self._count()
        unreachable, self._last_seen.unreachable = self._last_seen.unreachable, set()
        self.replica.version_preference.update(self._parts.transport.versions())
        try:
            for member in unreachable:
                self.replica.unreachable(member)
            self.replica.tick(now)
        except Exception as error:  # noqa: BLE001 As in `_advance`.
            self._cannot_go_on(error)
        else:
            self._advance(flush=True)

    def _count(self) -> None:
        """Copy what the replica counts to where telemetry reads."""
        counters, replica = self._parts.counters, self.replica
        counters.proposals = replica.counters.proposals
        counters.proposals_dropped = replica.counters.dropped
        counters.outcomes_unknown = replica.proposals.unknown
        counters.read_barriers = replica.reads.barriers
        counters.entries_applied = replica.driver.entries_applied
        counters.log_compactions = replica.driver.compactions
        counters.entries_appended = replica.driver.entries_appended
        counters.append_latency = replica.proposals.latency

    def _post(self, callback: Callable[[], None]) -> None:
        if not self._event_loop.is_closed():
            self._event_loop.call_soon_threadsafe(callback)

    def _written(self, written: Written) -> None:
        counters = self._parts.counters
        counters.storage_writes += 1
        counters.storage_syncs += written.synced
        if len(counters.storage_durations) < MAX_KEPT_DURATIONS:
            counters.storage_durations.append(written.seconds)
        if not self._running:
            return
        try:
            self.replica.persisted(written.token)
        except Exception as error:  # noqa: BLE001 As in `_advance`.
            self._cannot_go_on(error)
        else:
            self._advance(flush=False)

    def _full(self, full: StorageFullError | None) -> None:
        self.full = full
        if full is None:
            log.warning("storage.room_restored")
        else:
            log.error("storage.full", extra={"reason": str(full)})
            if self._events.is_alone():
                # No other member can make these writes durable: their callers stop waiting.
                unknown = OutcomeUnknownError(f"the write may be made later: {full}")
                self._deliver(self.replica.refuse_writes(unknown, full))

    def note_quorum(self, low: StorageFullError | None) -> None:
        """Refuse writes that add data while no quorum has room for them; None: one has."""
        if (low is None) is not (self.quorum_low is None):
            event = "disk.quorum_restored" if low is None else "disk.quorum_low"
            log.warning(event, extra={} if low is None else {"reason": str(low)})
        self.quorum_low = low

    def _low(self, low: StorageFullError | None) -> None:
        self.low = low
        if low is None:
            log.warning("storage.room_restored")
        else:
            log.error("storage.low", extra={"reason": str(low)})

    def _failed(self, error: StorageError) -> None:
        if not self._running:
            return
        self._parts.counters.storage_failures += 1
        self._halt(error)
        self._events.failed(error)
