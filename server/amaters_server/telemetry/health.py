"""What is reported of a node's health, on every listener."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeFacts:
    """How one probe went when it last ran."""

    name: str
    status: str
    """`healthy`, `degraded` or `unhealthy`."""
    message: str
    latency_ms: float


@dataclass(frozen=True, slots=True)
class HealthFacts:
    """Alive, ready, healthy: three questions, answered at one moment."""

    status: str
    """`healthy`, `starting`, `degraded`, `unhealthy` or `shuttingdown`."""
    alive: bool
    ready: bool
    reason: str
    """Why it is not alive, or else why it is not ready."""
    uptime_seconds: int
    uptime_percent: float
    probes: tuple[ProbeFacts, ...] = ()
