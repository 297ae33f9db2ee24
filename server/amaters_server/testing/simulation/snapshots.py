"""Snapshots between simulated members: made, fetched and installed, with power failing around it."""

from collections.abc import Callable

from amaters_server.machine.snapshot_install import amend_for_install, position, require
from amaters_server.model.cluster import ConfState
from amaters_server.model.errors import SnapshotError
from amaters_server.raft.outbox import Snapshot, SnapshotOffer
from amaters_server.storage.memory import MemoryEngine
from amaters_server.testing.simulation.place import SimProcess

RETRY_SECONDS = 1.0
ONE_IN_SO_MANY_FAILS = 5


class SimSnapshots:
    """Both ends of catching up by snapshot, of one member in one of its lives."""

    def __init__(self, node: SimProcess) -> None:
        self._node = node
        self._offered_at = 0.0
        self._members: frozenset[int] = frozenset()
        self._fetched: dict[tuple[int, int], bytes] = {}

    def checkpoint(self) -> bytes:
        """Return the whole engine of this moment; mutants lose something of it here."""
        return self._node.engine.content()

    def make(self) -> None:
        """Make a snapshot of the state that is on the disk, and offer it."""
        node = self._node
        content = self.checkpoint()
        kept = position(MemoryEngine.holding(content))
        node.place.snapshots[node.id, kept.index] = content
        conf_state = kept.membership.conf_state if kept.membership else ConfState()
        self._members = frozenset((*conf_state.voters, *conf_state.learners))
        offer = node.id.to_bytes(8, "big")
        node.replica.offer_snapshot(kept.index, kept.term, conf_state, offer)
        self._offered_at = node.clock.now()

    def offer_again(self) -> None:
        """Offer it again to members that did not take it, or make one that names them."""
        replica, now = self._node.replica, self._node.clock.now()
        if now - self._offered_at > RETRY_SECONDS:
            waiting = replica.awaiting_snapshot()
            if not self._members.issuperset(waiting):
                replica.withdraw_snapshot()
            for member in waiting:
                replica.snapshot_sent(member, arrived=False)
                self._offered_at = now

    def fetch(self, offer: SnapshotOffer) -> None:
        """Fetch the snapshot of an offer, then let raft have its message."""
        node = self._node
        maker = int.from_bytes(offer.data, "big")
        snapshot = node.place.snapshots.get((maker, offer.index))
        source = node.place.nodes.get(maker)
        if snapshot is None or source is None or not source.up:
            return
        whole = snapshot

        def fetched() -> None:
            try:
                _require(whole, offer)
            except SnapshotError:
                return
            self._fetched[offer.index, offer.term] = whole
            node.replica.step(offer.message, node.clock.now(), fetched=True)
            node.kick()

        node.later(node.place.world.rng.uniform(0.01, 0.2), fetched)

    def install(self, snapshot: Snapshot, installed: Callable[[], None]) -> None:
        """Replace everything by the snapshot; power may fail before or after."""
        node, rng = self._node, self._node.place.world.rng
        node.machine.suspend()
        fails = rng.randrange(ONE_IN_SO_MANY_FAILS) == 0
        if not (fails and rng.choice((True, False))):
            content = MemoryEngine.holding(self._fetched[snapshot.index, snapshot.term])
            node.engine.take_over(
                content, amend_for_install(node.engine, index=snapshot.index, term=snapshot.term)
            )
        if fails:
            node.crash()
            node.place.world.later(rng.uniform(0.1, 0.5), node.come_back)
            return
        node.machine.reload()
        installed()


def _require(whole: bytes, offer: SnapshotOffer) -> None:
    snapshot = MemoryEngine.holding(whole)
    require(snapshot, index=offer.index, term=offer.term, conf_state=offer.conf_state)
