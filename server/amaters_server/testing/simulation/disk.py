"""Disks of simulated nodes: they outlive crashes, and get slow or full."""

from dataclasses import dataclass, field

from amaters_server.storage.memory import MemoryDisk


@dataclass(slots=True)
class SimDisk:
    """A disk that outlives its node's crashes."""

    disk: MemoryDisk = field(default_factory=MemoryDisk)
    slow: float = 1.0
    """Factor on how long each write takes."""
