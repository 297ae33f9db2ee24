"""The phases of a server's life, and how long each may take."""

import enum
from dataclasses import dataclass


class ShutdownPhase(enum.Enum):
    """Each follows the one above it; none is entered twice."""

    RUNNING = "running"
    DRAINING = "draining"
    """No new calls; leadership is transferred, and calls in progress are answered."""
    FLUSHING_STATE = "flushing_state"
    """What is in memory goes to disk; then the disk and the ports close."""
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class DrainConfig:
    """Times in seconds, with the published defaults."""

    drain_timeout: float = 30.0
    """For calls in progress."""
    check_interval: float = 1.0
    """Between two lines of the log about calls that are still waited for."""
    flush_timeout: float = 30.0
    """For each hook that does work and names no time of its own."""
