"""One simulated member: the real replica, state machine and log on a virtual disk and network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from typing_extensions import override

from amaters_server.machine.image import install_image, write_image
from amaters_server.machine.machine import Applied, Machine
from amaters_server.model.cluster import ConfState, Membership
from amaters_server.model.errors import StorageError, StorageFullError
from amaters_server.model.queries import Answers, Read, Write
from amaters_server.model.replication import Committed
from amaters_server.node import answering, opening
from amaters_server.node.settings import Addresses, NodeSettings, Retention, Timing
from amaters_server.raft import membership as rules
from amaters_server.raft.core import CoreSettings, is_snapshot, snapshot_offer
from amaters_server.raft.driver import Batch, ImageToInstall
from amaters_server.raft.log import Identity, Log
from amaters_server.raft.replica import Outbox, Replica
from amaters_server.storage.engine import Changes, Engine
from amaters_server.storage.memory import MemoryEngine
from amaters_server.testing.sim_disk import DyingEngine, PowerFailureError, SimDisk
from amaters_server.testing.sim_recorder import Recorder
from amaters_server.testing.sim_world import Network, World

TICK_SECONDS = 0.02
FULL_DISK_RETRY_SECONDS = 0.1
IMAGE_RETRY_SECONDS = 1.0
KEPT_ENTRIES = 40
_NOWHERE = Path("/nonexistent")


@dataclass(frozen=True, slots=True)
class SimPlace:
    """Where a node lives."""

    world: World
    network: Network
    recorder: Recorder
    nodes: "dict[int, SimNode]"
    images: dict[tuple[int, int], bytes]
    """Finished images by (maker, index)."""


class RecordingMachine(Machine):
    """The real state machine, with somebody looking over its shoulder."""

    def __init__(self, engine: MemoryEngine, node: int, recorder: Recorder) -> None:
        super().__init__(engine)
        self._node = node
        self._recorder = recorder

    @override
    def apply(self, entries: Sequence[Committed]) -> Applied:
        """Apply the next entries."""
        for entry in entries:
            self._recorder.applied(self._node, entry)
        return super().apply(entries)


class SimNode:
    """One member, up or down. Down, it keeps its disk and nothing else."""

    syncs = True
    """False simulates an engine that lies about durability."""

    def __init__(self, node_id: int, place: SimPlace, pinned: int, speed: float) -> None:
        self.id = node_id
        self.storage = SimDisk()
        self.up = False
        self.life = 0
        self.retired = False
        self._place = place
        self._pinned = pinned
        self._speed = speed
        self._queue: list[Batch] = []
        self._writing = False
        self._awaiting: ImageToInstall | None = None
        self._scheduled = False
        self._offered_at = 0.0

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

    def start(self) -> None:
        """Come up with what the disk holds."""
        self.life += 1
        self.up = True
        self.engine = MemoryEngine(self.storage.disk)
        self.machine = RecordingMachine(self.engine, self.id, self._place.recorder)
        if self.machine.needs_image:
            self._install_again()
        log = Log(self.engine)
        disk = opening.Disk(self.engine, self.machine, log)
        identity = log.identity()
        if identity is None:
            raise StorageError(f"node {self.id} has no identity on its disk")
        settings = self._settings()
        core = opening.core_settings_of(self.id, settings)
        pinned = replace(core, election_ticks=(self._pinned, self._pinned + 1))
        self.replica = self.open(disk, identity, settings, pinned)
        self._queue, self._writing, self._awaiting, self._scheduled = [], False, None, False
        life = self.life
        self._place.world.later(TICK_SECONDS, lambda: self._tick(life))

    def open(
        self, disk: opening.Disk, identity: Identity, settings: NodeSettings, core: CoreSettings
    ) -> Replica:
        """Open the replica; mutants do something to it here."""
        return opening.open_replica(disk, identity, settings, self._place.world, core)

    def crash(self) -> None:
        """Lose power: memory is gone, and so are writes that no sync has reached."""
        rng = self._place.world.rng
        self.up = False
        full = self.storage.disk.capacity_bytes is not None
        if self._writing and self._queue and not full and rng.choice((True, False)):
            self._write_now()  # It had reached the disk; only nobody heard of it any more.
        self.storage.disk.crash(keep=rng.randrange(3))

    def _settings(self) -> NodeSettings:
        return NodeSettings(
            Addresses(f"n{self.id}", f"n{self.id}:1", f"n{self.id}:2"),
            image_folder=_NOWHERE,
            timing=Timing(heartbeat_interval=TICK_SECONDS * 5, election_timeout=0.3),
            retention=Retention(entries=KEPT_ENTRIES, bytes=1 << 20),
        )

    # --- calls ----------------------------------------------------------------

    def write(self, write: Write, answers: Answers) -> None:
        """Take a client's write in."""
        self.replica.write([write], answers, self._place.world.now())
        self.kick()

    def read(self, read: Read, answers: Answers) -> None:
        """Take a client's read in."""
        if read.stale:
            answers(answering.answer_quick(self.machine, [read]))
            return
        self.replica.read([read], answers, self._place.world.now())
        self.kick()

    def receive(self, sender: "SimNode", message: bytes) -> None:
        """Take a message of another member in; a removed one is told so, as in a handshake."""
        if not self.up:
            return
        membership = self.machine.membership
        if membership is not None and rules.was_removed(membership, sender.id):
            sender.retired = True
            return
        self.replica.hear(sender.id, self._place.world.now())
        if is_snapshot(message):
            self._fetch(message)
        else:
            self.replica.step(message, self._place.world.now())
        self.kick()

    @property
    def leads(self) -> bool:
        """Whether the node is up and believes to lead."""
        return self.up and self.replica.driver.core.is_leader

    # --- the loop ---------------------------------------------------------------

    def kick(self) -> None:
        """Have the replica advance soon, with everything else that arrives by then."""
        if self.up and not self._scheduled:
            self._scheduled = True
            life = self.life
            self._place.world.later(0.0, lambda: self._cycle(life))

    def _cycle(self, life: int) -> None:
        if self.up and life == self.life:
            self._scheduled = False
            self._carry_out(self.replica.advance(self._place.world.now()))

    def _tick(self, life: int) -> None:
        if not self.up or life != self.life:
            return
        world = self._place.world
        world.later(TICK_SECONDS * self._speed, lambda: self._tick(life))
        self.replica.tick(world.now())
        self._carry_out(self.replica.advance(world.now(), flush=True))
        self._look_after_images()
        if not self.replica.leader:
            self._shake_hands()

    def _shake_hands(self) -> None:
        """Hear from anyone in reach whether this node is still a member, as on connecting."""
        blocked = self._place.network.blocked
        for other in self._place.nodes.values():
            reachable = not {(self.id, other.id), (other.id, self.id)} & blocked
            if other.up and reachable and other.machine.membership is not None:
                self.retired |= rules.was_removed(other.machine.membership, self.id)

    def _carry_out(self, outbox: Outbox) -> None:
        for to, message in outbox.messages:
            self._send(to, message)
        self._queue += outbox.writes
        for waiting in outbox.reads:
            waiting.answers(answering.answer_quick(self.machine, waiting.reads))
        for answers, answered in outbox.deliveries:
            answers(answered)
        self._notice(outbox)
        if outbox.images_wanted:
            self._make_image()
        self._awaiting = outbox.install or self._awaiting
        if self._awaiting is not None and not self._queue:
            self._install(self._awaiting)
        self._write_soon()

    def _notice(self, outbox: Outbox) -> None:
        if outbox.leadership is not None:
            core = self.replica.driver.core
            self._place.recorder.trace.append(
                f"{self._place.world.now():.4f} {self.id} {outbox.leadership} {core.term}"
            )
            if core.is_leader:
                self._place.recorder.led(self.id, core.term)
        membership = self.machine.membership
        if outbox.members_changed and membership is not None:
            self.retired = membership.member(self.id) is None

    def _send(self, to: int, message: bytes) -> None:
        target = self._place.nodes.get(to)
        if target is not None:
            self._place.network.carry(self.id, to, lambda: target.receive(self, message))

    # --- the disk -----------------------------------------------------------------

    def _write_soon(self) -> None:
        if self._writing or not self._queue or not self.up:
            return
        self._writing = True
        life = self.life
        world = self._place.world
        world.later(
            world.rng.uniform(0.0002, 0.003) * self.storage.slow, lambda: self._write_done(life)
        )

    def _write_done(self, life: int) -> None:
        if not self.up or life != self.life:
            return
        try:
            token = self._write_now()
        except StorageFullError:
            self._place.world.later(FULL_DISK_RETRY_SECONDS, lambda: self._write_done(life))
            return
        self._writing = False
        self.replica.persisted(token)
        self._carry_out(self.replica.advance(self._place.world.now()))

    def _write_now(self) -> int:
        """Write everything queued as one, as the storage thread does."""
        changes, sync = Changes(), False
        for batch in self._queue:
            changes.extend(batch.changes)
            sync |= batch.sync
        self.engine.write(changes, sync=sync and self.syncs)
        token = self._queue[-1].token
        self._queue = []
        return token

    # --- images -------------------------------------------------------------------

    def _make_image(self) -> None:
        source = self.machine.image_source()
        kept = source.kept
        pieces: list[bytes] = []
        write_image(source, pieces.append, created_unix_ms=0)
        self._place.images[self.id, kept.index] = b"".join(pieces)
        conf_state = kept.membership.conf_state if kept.membership else ConfState()
        offer = self.id.to_bytes(8, "big")
        self.replica.offer_image(kept.index, kept.term, conf_state, offer)
        self._offered_at = self._place.world.now()

    def _look_after_images(self) -> None:
        now = self._place.world.now()
        for member in self.replica.awaiting_image():
            if now - self._offered_at > IMAGE_RETRY_SECONDS:
                self.replica.image_sent(member, arrived=False)
                self._offered_at = now

    def _fetch(self, message: bytes) -> None:
        offer = snapshot_offer(message)
        maker = int.from_bytes(offer.data, "big")
        image = self._place.images.get((maker, offer.index))
        source = self._place.nodes.get(maker)
        if image is None or source is None or not source.up:
            return
        life, whole = self.life, image

        def fetched() -> None:
            if self.up and life == self.life:
                self.storage.images[offer.index, offer.term] = whole
                self.replica.step(message, self._place.world.now())
                self.kick()

        self._place.world.later(self._place.world.rng.uniform(0.01, 0.2), fetched)

    def _install(self, image: ImageToInstall) -> None:
        world = self._place.world
        if self.storage.disk.capacity_bytes is not None:
            return  # Too full for it; every tick tries again.
        self._awaiting = None
        self.machine.suspend()
        content = self.storage.images[image.index, image.term]
        if world.rng.randrange(5) == 0:
            # Power fails in the middle of it; some of its writes were made, one not at all.
            dying = DyingEngine(self.engine, world.rng.randrange(1, 4))
            try:
                install_image(cast("Engine", dying), lambda: [content])
            except PowerFailureError:
                self.crash()
                world.later(world.rng.uniform(0.1, 0.5), self._come_back)
                return
        else:
            install_image(self.engine, lambda: [content])
        self.machine.reload()
        self._carry_out(self.replica.installed(Changes(), world.now()))
        self.kick()

    def _come_back(self) -> None:
        if not self.up and not self.retired:
            self.start()

    def _install_again(self) -> None:
        key = (self.machine.applied_index, self.machine.applied_term)
        content = self.storage.images[key]
        install_image(self.engine, lambda: [content])
        self.machine.reload()
