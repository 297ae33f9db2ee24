"""Catching up by image: a node can be either end of it."""

from dataclasses import dataclass

from amaters_server.node.image_receiver import ImageReceiver
from amaters_server.node.image_sender import ImageSender
from amaters_server.node.pump import Pump


@dataclass(frozen=True, slots=True)
class Images:
    """Both ends of one node."""

    sender: ImageSender
    receiver: ImageReceiver

    def attach(self, pump: Pump) -> None:
        """Begin to work for this pump."""
        self.sender.attach(pump.replica)
        self.receiver.attach(pump)

    async def close(self) -> None:
        """Stop both."""
        await self.receiver.close()
        await self.sender.close()
