"""Catching up by image: a node can be either end of it."""

from dataclasses import dataclass

from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.snapshot_transfer.receiver import ImageReceiver
from amaters_server.node.snapshot_transfer.sender import ImageSender


@dataclass(frozen=True, slots=True)
class Images:
    """Both ends of one node."""

    sender: ImageSender
    receiver: ImageReceiver

    def attach(self, loop: ReplicaLoop) -> None:
        """Begin to work for this loop."""
        self.sender.attach(loop.replica)
        self.receiver.attach(loop)

    async def close(self) -> None:
        """Stop both."""
        await self.receiver.close()
        await self.sender.close()
