"""Images between simulated members: made, fetched and installed, with power failing in between."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from amaters_server.machine.image import install_image, write_image
from amaters_server.model.cluster import ConfState
from amaters_server.raft.core import snapshot_offer
from amaters_server.raft.driver import ImageToInstall
from amaters_server.storage.engine import Engine
from amaters_server.testing.sim_disk import DyingEngine, PowerFailureError

if TYPE_CHECKING:
    from amaters_server.testing.sim_node import SimNode

RETRY_SECONDS = 1.0
ONE_IN_SO_MANY_FAILS = 5


class SimImages:
    """Both ends of catching up by image, of one member in one of its lives."""

    def __init__(self, node: "SimNode") -> None:
        self._node = node
        self._offered_at = 0.0

    def make(self) -> None:
        """Make an image of the present state, and offer it."""
        node = self._node
        source = node.machine.image_source()
        kept = source.kept
        pieces: list[bytes] = []
        write_image(source, pieces.append, created_unix_ms=0)
        node.place.images[node.id, kept.index] = b"".join(pieces)
        conf_state = kept.membership.conf_state if kept.membership else ConfState()
        offer = node.id.to_bytes(8, "big")
        node.replica.offer_image(kept.index, kept.term, conf_state, offer)
        self._offered_at = node.clock.now()

    def look_after(self) -> None:
        """Offer it again to members that did not take it."""
        now = self._node.clock.now()
        if now - self._offered_at > RETRY_SECONDS:
            for member in self._node.replica.awaiting_image():
                self._node.replica.image_sent(member, arrived=False)
                self._offered_at = now

    def fetch(self, message: bytes) -> None:
        """Fetch the image that the message offers, then let raft have the message."""
        node = self._node
        offer = snapshot_offer(message)
        maker = int.from_bytes(offer.data, "big")
        image = node.place.images.get((maker, offer.index))
        source = node.place.nodes.get(maker)
        if image is None or source is None or not source.up:
            return
        whole = image

        def fetched() -> None:
            node.storage.images[offer.index, offer.term] = whole
            node.replica.step(message, node.clock.now())
            node.kick()

        node.later(node.place.world.rng.uniform(0.01, 0.2), fetched)

    def install(self, image: ImageToInstall, installed: Callable[[], None]) -> None:
        """Replace everything by the image; power may fail in the middle of it."""
        node, world = self._node, self._node.place.world
        node.machine.suspend()
        content = node.storage.images[image.index, image.term]
        if world.rng.randrange(ONE_IN_SO_MANY_FAILS) == 0:
            # Some of its writes are made, one not at all.
            dying = DyingEngine(node.engine, world.rng.randrange(1, 4))
            try:
                install_image(cast("Engine", dying), lambda: [content])
            except PowerFailureError:
                node.crash()
                world.later(world.rng.uniform(0.1, 0.5), node.come_back)
                return
        else:
            install_image(node.engine, lambda: [content])
        node.machine.reload()
        installed()

    def install_again(self) -> None:
        """Finish, at a start, the installation that a crash interrupted."""
        node = self._node
        key = (node.machine.applied_index, node.machine.applied_term)
        content = node.storage.images[key]
        install_image(node.engine, lambda: [content])
        node.machine.reload()
