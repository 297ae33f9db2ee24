"""Disks of simulated nodes: they outlive crashes, get slow or full, and lose power in the middle."""

from dataclasses import dataclass, field

from amaters_server.storage.engine import Changes
from amaters_server.storage.memory import MemoryDisk, MemoryEngine


@dataclass(slots=True)
class SimDisk:
    """A disk that outlives its node's crashes, with the images that lie on it."""

    disk: MemoryDisk = field(default_factory=MemoryDisk)
    images: dict[tuple[int, int], bytes] = field(default_factory=dict)
    slow: float = 1.0
    """Factor on how long each write takes."""


class PowerFailureError(Exception):
    """The power failed in the middle of an installation."""


class DyingEngine:
    """An engine whose power fails after some writes."""

    def __init__(self, engine: MemoryEngine, writes: int) -> None:
        self._engine = engine
        self._left = writes

    def write(self, changes: Changes, *, sync: bool) -> None:
        """Write, while there is power."""
        if self._left == 0:
            raise PowerFailureError
        self._left -= 1
        self._engine.write(changes, sync=sync)

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)
