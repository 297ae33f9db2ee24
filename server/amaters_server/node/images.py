"""Catching up by image: both halves of it, and who looks after them."""

import asyncio
from dataclasses import dataclass

from amaters_server.node.image_receiver import ImageReceiver
from amaters_server.node.image_sender import ImageSender
from amaters_server.node.pump import Pump

LOOK_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Images:
    """A node can be either end, at any time."""

    sender: ImageSender
    receiver: ImageReceiver

    def attach(self, pump: Pump) -> None:
        """Begin to work for this pump."""
        self.sender.attach(pump.replica)
        self.receiver.attach(pump)

    async def look_after(self) -> None:
        """Mend what got stuck, forget what is over; runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            self.sender.look_after()

    async def close(self) -> None:
        """Stop both."""
        await self.receiver.close()
        await self.sender.close()
