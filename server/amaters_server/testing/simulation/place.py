"""Where simulated members live, and the real state machine with somebody looking over its shoulder."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from typing_extensions import override

from amaters_server.machine.machine import Applied, Machine
from amaters_server.model.replication import Committed
from amaters_server.storage.memory import MemoryEngine
from amaters_server.testing.simulation.recorder import Recorder
from amaters_server.testing.simulation.world import Network, World

if TYPE_CHECKING:
    from amaters_server.testing.simulation.node import SimNode


OVERHEARD = 2000
"""Messages that can be sent once more: those of the last seconds."""


@dataclass(frozen=True, slots=True)
class SimPlace:
    """What all members of one simulated cluster share."""

    world: World
    network: Network
    recorder: Recorder
    nodes: "dict[int, SimNode]"
    images: dict[tuple[int, int], bytes]
    """Finished images by (maker, index)."""
    overheard: deque[tuple[int, int, bytes]] = field(
        default_factory=lambda: deque(maxlen=OVERHEARD)
    )
    """The newest messages between members: sender, receiver, message."""


class RecordingMachine(Machine):
    """The real state machine; everything it applies is compared with what others applied."""

    def __init__(self, engine: MemoryEngine, node: int, recorder: Recorder) -> None:
        super().__init__(engine)
        self._node = node
        self._recorder = recorder

    @override
    def apply(self, entries: Sequence[Committed]) -> Applied:
        """Apply the next entries."""
        for entry in entries:
            self._recorder.applied(self._node, entry)
        applied = super().apply(entries)
        self._recorder.changed(self._node, entries[-1].index, applied.changes)
        return applied
