"""Health as published: one status, its components, its history.

Three questions are kept apart. Alive: does this process make progress? Never a matter of peers or
of a full disk, because a restart would cure neither. Ready: does this node serve callers now?
Healthy: is there anything a person should look at?
"""

import enum
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from amaters_server import __version__
from amaters_server.http.probes import ProbeResult, ProbeStatus, worst
from amaters_server.node.values import Verdict
from amaters_server.telemetry.health import HealthFacts, ProbeFacts

HISTORY_LENGTH = 10

Json: TypeAlias = dict[str, object]


class HealthStatus(enum.Enum):
    """The published words."""

    HEALTHY = "healthy"
    STARTING = "starting"
    SHUTTING_DOWN = "shuttingdown"
    UNHEALTHY = "unhealthy"
    DEGRADED = "degraded"


@dataclass(frozen=True, slots=True)
class HealthRecord:
    """Health at one moment."""

    timestamp: int
    status: HealthStatus
    alive: bool
    ready: bool

    def json(self) -> Json:
        """Return it as published."""
        return {
            "timestamp": self.timestamp,
            "status": self.status.value,
            "alive": self.alive,
            "ready": self.ready,
        }


@dataclass(slots=True)
class Health:
    """Answers all health questions of one server."""

    liveness: Callable[[], Verdict]
    readiness: Callable[[], Verdict]
    clustered: bool
    unix_time: Callable[[], float] = time.time
    probes: dict[str, ProbeResult] = field(default_factory=dict)
    probed_at: int = 0
    _stopping: bool = False
    _was_ready: bool = False
    _started: float = 0.0
    _history: deque[HealthRecord] = field(default_factory=lambda: deque(maxlen=HISTORY_LENGTH))

    def __post_init__(self) -> None:
        self._started = self.unix_time()

    def stopping(self) -> None:
        """Say no to readiness from now on: the first step of every stop."""
        self._stopping = True

    def probed(self, results: dict[str, ProbeResult]) -> None:
        """Store the results of the probes."""
        self.probes = results
        self.probed_at = int(self.unix_time())

    def record(self) -> None:
        """Add the present state to the history."""
        self._history.append(
            HealthRecord(int(self.unix_time()), self.status(), self.alive().ok, self.ready().ok)
        )

    def alive(self) -> Verdict:
        """Say whether the process makes progress."""
        return self.liveness()

    def ready(self) -> Verdict:
        """Say whether callers should come here."""
        if self._stopping:
            return Verdict(ok=False, reason="this node is shutting down")
        verdict = self.readiness()
        self._was_ready = self._was_ready or verdict.ok
        return verdict

    def status(self) -> HealthStatus:
        """Sum everything up in one word."""
        ready = self.ready().ok
        if self._stopping:
            return HealthStatus.SHUTTING_DOWN
        if not self.alive().ok or worst(self.probes) is ProbeStatus.UNHEALTHY:
            return HealthStatus.UNHEALTHY
        if not self._was_ready:
            return HealthStatus.STARTING
        if not ready or worst(self.probes) is ProbeStatus.DEGRADED:
            return HealthStatus.DEGRADED
        return HealthStatus.HEALTHY

    def facts(self) -> HealthFacts:
        """Return everything as a value."""
        alive, ready = self.alive(), self.ready()
        return HealthFacts(
            status=self.status().value,
            alive=alive.ok,
            ready=ready.ok,
            reason=alive.reason or ready.reason,
            uptime_seconds=self._uptime(),
            uptime_percent=self._uptime_percent(),
            probes=tuple(
                ProbeFacts(name, one.status.value, one.message, one.latency_ms)
                for name, one in self.probes.items()
            ),
        )

    def report(self) -> Json:
        """Return what `/health` says."""
        now = int(self.unix_time())
        return {
            "status": self.status().value,
            "version": __version__,
            "uptime_seconds": self._uptime(),
            "components": self._components(now),
            "dependencies": [],
            "probes": {name: _probe(result) for name, result in self.probes.items()},
            "uptime_percent": self._uptime_percent(),
            "timestamp": now,
        }

    def liveness_report(self) -> Json:
        """Return what `/livez` says."""
        return {
            "alive": self.alive().ok,
            "status": self.status().value,
            "uptime_seconds": self._uptime(),
            "timestamp": int(self.unix_time()),
        }

    def busy_report(self, *, alive: bool) -> Json:
        """Return what `/livez` says while nothing but the clock can be asked; any thread may."""
        status = HealthStatus.DEGRADED if alive else HealthStatus.UNHEALTHY
        return {
            "alive": alive,
            "status": status.value,
            "uptime_seconds": self._uptime(),
            "timestamp": int(self.unix_time()),
        }

    def readiness_report(self) -> Json:
        """Return what `/readyz` says; the reason only when there is one."""
        ready = self.ready()
        return {"ready": True} if ready.ok else {"ready": False, "reason": ready.reason}

    def history_report(self) -> Json:
        """Return what `/metrics.json` says."""
        return {
            "uptime_seconds": self._uptime(),
            "uptime_percent": self._uptime_percent(),
            "history_count": len(self._history),
            "history": [record.json() for record in self._history],
        }

    def _uptime(self) -> int:
        return int(self.unix_time() - self._started)

    def _uptime_percent(self) -> float:
        if not self._history:
            return 100.0
        return 100.0 * sum(one.alive for one in self._history) / len(self._history)

    def _components(self, now: int) -> list[Json]:
        storage = worst(self.probes).value
        alive, ready = self.alive().ok, self.ready()
        if not self.clustered:
            cluster, message = "starting", "cluster disabled (standalone mode)"
        elif ready.ok:
            cluster, message = "healthy", "cluster active"
        else:
            cluster, message = "unhealthy", f"cluster unhealthy: {ready.reason}"
        network = "healthy" if alive else "unhealthy"
        return [
            _component("storage", storage, None, self.probed_at or now),
            _component("network", network, None, now),
            _component("cluster", cluster, message, now),
        ]


def _component(name: str, status: str, message: str | None, checked: int) -> Json:
    return {"name": name, "status": status, "message": message, "last_check": checked}


def _probe(result: ProbeResult) -> Json:
    return {
        "status": result.status.value,
        "latency_ms": result.latency_ms,
        "message": result.message,
    }
