"""What simulated members share, and what each of them is to the others and to its snapshots."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from amaters_server.raft.replica import Replica
from amaters_server.storage.memory import MemoryDisk, MemoryEngine
from amaters_server.testing.simulation.clock import SimClock
from amaters_server.testing.simulation.recorder import Recorder, RecordingMachine
from amaters_server.testing.simulation.world import Event, Network, World

OVERHEARD = 2000
"""Messages that can be sent once more: those of the last seconds."""
OLD, NEW = (0, 3, 0), (0, 4, 0)
"""Versions that members may run."""


@dataclass(slots=True)
class SimDisk:
    """A disk that outlives its node's crashes."""

    disk: MemoryDisk = field(default_factory=MemoryDisk)
    slow: float = 1.0
    """Factor on how long each write takes."""


@dataclass(frozen=True, slots=True)
class SimPlace:
    """What all members of one simulated cluster share."""

    world: World
    network: Network
    recorder: Recorder
    nodes: "Mapping[int, SimProcess]"
    snapshots: dict[tuple[int, int], bytes]
    """Finished snapshots by (maker, index)."""
    overheard: deque[tuple[int, int, bytes]] = field(
        default_factory=lambda: deque(maxlen=OVERHEARD)
    )
    """The newest messages between members: sender, receiver, message."""


class SimProcess(ABC):
    """The process of one member: up, down or suspended. Down, it keeps its disk and nothing else."""

    engine: MemoryEngine
    machine: RecordingMachine
    replica: Replica

    def __init__(self, node_id: int, place: SimPlace, clock: SimClock) -> None:
        self.id = node_id
        self.place = place
        self.clock = clock
        self.storage = SimDisk()
        self.up = False
        self.life = 0
        self.retired = False
        self.version = NEW
        self._backlog: list[Event] | None = None
        """What happened while the process was suspended."""

    @abstractmethod
    def start(self) -> None:
        """Come up with what the disk holds."""

    @abstractmethod
    def crash(self) -> None:
        """Lose power: memory is gone, and so are writes that no sync has reached."""

    @abstractmethod
    def kick(self) -> None:
        """Have the replica advance soon, with everything else that arrives by then."""

    @abstractmethod
    def receive(self, sender: "SimProcess", message: bytes) -> None:
        """Process a message of another member."""

    def come_back(self) -> None:
        """Start again, if it is down and still a member."""
        if not self.up and not self.retired:
            self.start()

    def suspend(self) -> None:
        """Stand still; whatever happens meanwhile is noticed by `resume`, all at once."""
        self._backlog = self._backlog or []

    def resume(self) -> None:
        """Go on where it stopped."""
        backlog, self._backlog = self._backlog or [], None
        for event in backlog:
            event()

    def later(self, seconds: float, event: Event) -> None:
        """Have something happen to this life of the process; its clock does not matter."""
        life = self.life

        def happen() -> None:
            if self.up and life == self.life:
                if self._backlog is None:
                    event()
                else:
                    self._backlog.append(happen)

        self.place.world.later(seconds, happen)

    def arrive(self, event: Event) -> None:
        """Have something from outside happen now, or as soon as the process moves again."""
        if self.up:
            if self._backlog is None:
                event()
            else:
                self._backlog.append(lambda: self.arrive(event))
