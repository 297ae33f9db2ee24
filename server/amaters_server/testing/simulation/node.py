"""One simulated member: the real replica, state machine and log on a virtual disk and network."""

from dataclasses import replace
from pathlib import Path

from typing_extensions import override

from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import Membership
from amaters_server.model.errors import StorageError, StorageFullError
from amaters_server.model.keys import DATA_KEYS_END
from amaters_server.model.queries import Answer, Answers, Read, Write
from amaters_server.model.versions import dotted
from amaters_server.node.joining import open_replica as opening
from amaters_server.node.loop import reading
from amaters_server.node.settings import Addresses, NodeSettings, Timing
from amaters_server.raft import membership as rules
from amaters_server.raft.log import Identity, Log, LogRetention
from amaters_server.raft.outbox import Batch, Outbox, Snapshot
from amaters_server.raft.raft_node import RaftNodeSettings
from amaters_server.raft.replica import Replica
from amaters_server.storage.engine import Changes
from amaters_server.storage.memory import MemoryEngine
from amaters_server.testing.simulation.clock import SimClock
from amaters_server.testing.simulation.place import SimPlace, SimProcess
from amaters_server.testing.simulation.recorder import RecordingMachine
from amaters_server.testing.simulation.snapshots import SimSnapshots

TICK_SECONDS = 0.02
SLICE_SECONDS = 0.004
"""One slice of an entry that takes a while."""
TICKS_BETWEEN_HANDSHAKES = 5
FULL_DISK_RETRY_SECONDS = 0.1
KEPT_ENTRIES = 40
_NOWHERE = Path("/nonexistent")


class SimNode(SimProcess):
    """One member with its replica, state machine, log and snapshots."""

    syncs = True
    """False simulates an engine that lies about durability."""

    def __init__(self, node_id: int, place: SimPlace, pinned: int, clock: SimClock) -> None:
        super().__init__(node_id, place, clock)
        self.pinned = pinned
        """The election timeout in ticks; different on every node."""
        self._queue: list[Batch] = []
        self._writing = False
        self._awaiting: Snapshot | None = None
        self._scheduled = False
        self._ticks = 0
        self._lonely_ticks = 0

    # --- life -----------------------------------------------------------------

    def found(self, identity: Identity, membership: Membership) -> None:
        """Write what a founding member begins with."""
        engine = MemoryEngine(self.storage.disk)
        disk = opening.Disk(engine, Machine(engine), Log(engine))
        changes = Changes()
        opening.form(disk, changes, membership)
        disk.log.put_identity(changes, identity)
        engine.write(changes, sync=True)
        engine.close()

    def join(self, identity: Identity) -> None:
        """Write what a member begins with that is sent everything by its leader."""
        engine = MemoryEngine(self.storage.disk)
        changes = Changes()
        Log(engine).put_identity(changes, identity)
        engine.write(changes, sync=True)
        engine.close()

    @override
    def start(self) -> None:
        """Come up with what the disk holds."""
        self.life += 1
        self.up = True
        self.engine = MemoryEngine(self.storage.disk)
        self.machine = RecordingMachine(self.engine, self.id, self.place.recorder)
        self.snapshots = SimSnapshots(self)
        log = Log(self.engine)
        disk = opening.Disk(self.engine, self.machine, log)
        identity = log.identity()
        if identity is None:
            raise StorageError(f"node {self.id} has no identity on its disk")
        settings = self._settings()
        core = opening.raft_node_settings(self.id, settings)
        pinned = replace(core, election_ticks=(self.pinned, self.pinned + 1))
        self.replica = self.open(disk, identity, settings, pinned)
        self._queue, self._writing, self._awaiting, self._scheduled = [], False, None, False
        self._backlog, self._lonely_ticks = None, 0
        self._versions: dict[int, str] = {}
        self._tick_later()

    def open(
        self, disk: opening.Disk, identity: Identity, settings: NodeSettings, core: RaftNodeSettings
    ) -> Replica:
        """Open the replica; mutants do something to it here."""
        return opening.open_replica(disk, identity, settings, self.clock, core)

    @override
    def crash(self) -> None:
        """Lose power: memory is gone, and so are writes that no sync has reached."""
        rng = self.place.world.rng
        self.up = False
        full = self.storage.disk.capacity_bytes is not None
        if self._writing and self._queue and not full and rng.choice((True, False)):
            self._write_now()  # It had reached the disk; no reply was sent.
        self.storage.disk.crash(keep=rng.randrange(3))

    def show_state(self) -> None:
        """Have all data compared with what it should be."""
        view = self.machine.view()
        rows = view.scan(b"", DATA_KEYS_END)
        self.place.recorder.state(self.id, self.machine.applied_index, rows)
        view.close()

    @property
    def leads(self) -> bool:
        """Whether the node is up and believes to lead."""
        return self.up and self.replica.leads

    def _settings(self) -> NodeSettings:
        return NodeSettings(
            Addresses(f"n{self.id}", f"n{self.id}:1", f"n{self.id}:2"),
            transfer_folder=_NOWHERE,
            version=self.version,
            timing=Timing(heartbeat_interval=TICK_SECONDS * 5, election_timeout=0.3),
            retention=LogRetention(entries=KEPT_ENTRIES, bytes=1 << 20),
        )

    # --- what arrives ---------------------------------------------------------

    def write(self, write: Write, answers: Answers) -> None:
        """Take a client's write in."""
        self.replica.write([write], answers, self.clock.now())
        self.kick()

    def read(self, read: Read, answers: Answers) -> None:
        """Take a client's read in."""
        self.replica.read([read], answers, self.clock.now())
        self.kick()

    @override
    def receive(self, sender: SimProcess, message: bytes) -> None:
        """Take a message of another member in; a removed one learns so, as in a handshake."""
        membership = self.machine.membership
        if membership is not None and rules.was_removed(membership, sender.id):
            sender.retired = True
            return
        self.replica.note_contact(sender.id, self.clock.now())
        self.take_in(message)

    def take_in(self, message: bytes) -> None:
        """Step a message; one that offers a snapshot is stepped again once its snapshot is here."""
        self.replica.step(message, self.clock.now())
        self.kick()

    # --- the loop ---------------------------------------------------------------

    @override
    def kick(self) -> None:
        """Have the replica advance soon, with everything else that arrives by then."""
        if self.up and not self._scheduled:
            self._scheduled = True
            self.later(0.0, self._cycle)

    def _cycle(self) -> None:
        self._scheduled = False
        self._carry_out(self.replica.advance(self.clock.now()))

    def _tick_later(self) -> None:
        self.later(self.clock.true_seconds(TICK_SECONDS), self._tick)

    def _tick(self) -> None:
        self._tick_later()
        self._ticks += 1
        now = self.clock.now()
        self.replica.tick(now)
        self._carry_out(self.replica.advance(now, flush=True))
        if not self.up:
            return  # Power failed while a snapshot was installed.
        self._check_belief()
        if self.leads:
            self.snapshots.offer_again()
        if self._ticks % TICKS_BETWEEN_HANDSHAKES == 0:
            self._shake_hands()

    def begin_handing_over(self) -> None:
        """Take an order to hand leadership over, which restarts raft's check of the quorum."""
        self._lonely_ticks = 0
        self.kick()

    def _check_belief(self) -> None:
        """Require that a leader without contact to a quorum keeps its lease no longer than it may."""
        self._lonely_ticks = self._lonely_ticks + 1 if self.leads and self.deaf else 0
        if self._lonely_ticks > 2 * self.pinned + 1:
            self.place.recorder.accuse(
                "belief ends",
                f"member {self.id} leads {self._lonely_ticks} ticks after it was cut off",
            )

    @property
    def deaf(self) -> bool:
        """Whether no other voter reaches this node."""
        blocked, others = self.place.network.blocked, self._other_voters()
        return bool(others) and all((other, self.id) in blocked for other in others)

    @property
    def cut_off(self) -> bool:
        """Whether no other voter reaches this node, or none is reached by it."""
        blocked, others = self.place.network.blocked, self._other_voters()
        return self.deaf or (bool(others) and all((self.id, other) in blocked for other in others))

    def _other_voters(self) -> list[int]:
        membership = self.machine.membership
        voters = rules.voters(membership) if membership is not None else []
        return [one.id for one in voters if one.id != self.id]

    def _shake_hands(self) -> None:
        """Learn everyone's version, and whether this node is still a member, as on connecting."""
        for other in self.place.nodes.values():
            if other.up and other is not self and self.place.network.connects(self.id, other.id):
                self._versions[other.id] = dotted(other.version)
                self.replica.confirm_term(other.replica.term)
                if other.machine.membership is not None:
                    self.retired |= rules.was_removed(other.machine.membership, self.id)
        self.replica.version_preference.update(self._versions)

    def _answered(self, read: Read) -> Answer:
        answer = reading.answered_at_once(self.machine, read, 2**62)
        return [] if answer is None else answer

    def _carry_out(self, outbox: Outbox) -> None:
        for to, _, message in outbox.messages:
            self._send(to, message)
        for batch in outbox.writes:
            self.hand_to_disk(batch)
        for waiting in outbox.reads:
            waiting.answers([(read.ticket, self._answered(read)) for read in waiting.reads])
        for answers, answered in outbox.deliveries:
            answers(answered)
        self._notice(outbox)
        for offer in outbox.offers:
            self.snapshots.fetch(offer)
        if outbox.snapshots_wanted:
            self.snapshots.make()
        self._awaiting = outbox.install or self._awaiting
        if self._awaiting is not None and not self._queue:
            self._install(self._awaiting)
        self._write_soon()

    def _notice(self, outbox: Outbox) -> None:
        if outbox.unfinished:
            self.later(SLICE_SECONDS, self.kick)
        membership = self.machine.membership
        if outbox.leadership is not None:
            replica, recorder = self.replica, self.place.recorder
            recorder.trace.append(
                f"{self.place.world.now():.4f} {self.id} {outbox.leadership} {replica.term}"
            )
            if replica.leads:
                own = membership.member(self.id) if membership is not None else None
                recorder.led(self.id, replica.term, votes=own is not None and not own.is_learner)
        if outbox.members_changed and membership is not None:
            self.retired = membership.member(self.id) is None

    def _send(self, to: int, message: bytes) -> None:
        target = self.place.nodes.get(to)
        if target is not None:
            self.place.overheard.append((self.id, to, message))
            self.place.network.carry(
                self.id, to, lambda: target.arrive(lambda: target.receive(self, message))
            )

    # --- the disk -----------------------------------------------------------------

    def hand_to_disk(self, batch: Batch) -> None:
        """Have the batch written with all others that wait."""
        self._queue.append(batch)

    def _write_soon(self) -> None:
        if self._writing or not self._queue or not self.up:
            return
        self._writing = True
        self.later(
            self.place.world.rng.uniform(0.0002, 0.003) * self.storage.slow, self._write_done
        )

    def _write_done(self) -> None:
        try:
            token = self._write_now()
        except StorageFullError:
            self.later(FULL_DISK_RETRY_SECONDS, self._write_done)
            return
        self._writing = False
        self.replica.persisted(token)
        self._carry_out(self.replica.advance(self.clock.now()))

    def _write_now(self) -> int:
        """Write everything queued as one, as the storage thread does."""
        changes, sync = Changes(), False
        for batch in self._queue:
            changes.extend(batch.changes)
            sync |= batch.sync
        self.engine.write(changes, sync=sync and self.syncs)
        for batch in self._queue:
            self.place.recorder.logged(self.id, batch.changes)
        token = self._queue[-1].token
        self._queue = []
        return token

    def _install(self, snapshot: Snapshot) -> None:
        if self.storage.disk.capacity_bytes is not None:
            return  # Too full for it; every tick tries again.
        self._awaiting = None
        self.snapshots.install(snapshot, self._installed)

    def _installed(self) -> None:
        self.show_state()
        self._carry_out(self.replica.installed(Changes(), self.clock.now()))
        self.kick()
