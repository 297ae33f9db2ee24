"""Alerts, log, health and shards as a node reports them: frozen values, no wire, no I/O."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


class Severity(enum.Enum):
    """How soon a person must look at an alert."""

    UNKNOWN = "unknown"
    """A newer server reported a severity that this client does not know."""
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert, as the node that fired it reports it."""

    sequence: int
    """Counted since that node's start, from 1."""
    event: str
    """NodeFailed, NodeRecovered, LeaderChanged, QuorumLost, SlowReplication, IncompatibleMember."""
    rule: str
    severity: Severity
    key: str
    """What it is about, such as `node_failed:42`."""
    facts: Mapping[str, int]
    message: str
    advice: str
    runbook: str
    """Page of the documentation with the whole procedure."""
    node_id: int
    node_name: str
    at: datetime
    missed: int = 0
    """Alerts before this one that this reader was too slow for."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of a node's log; secrets were masked by the node."""

    sequence: int
    at: datetime
    level: str
    event: str
    fields: Mapping[str, str]
    missed: int = 0
    """Records before this one that this reader was too slow for."""


class ShardState(enum.Enum):
    """What happens to a shard."""

    UNKNOWN = "unknown"
    ACTIVE = "active"
    SPLITTING = "splitting"
    MERGING = "merging"
    TRANSFERRING = "transferring"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard: which keys it has, and who holds it. Sizes are the node's estimates."""

    id: int
    start: bytes
    end: bytes
    """Half open; empty: the end of all keys."""
    state: ShardState
    leader_id: int
    """Zero when it has no leader."""
    replicas: tuple[int, ...]
    estimated_keys: int
    estimated_size_bytes: int


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of one of a node's probes."""

    name: str
    status: str
    message: str
    latency_ms: int


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """Alive, ready and healthy, as the node's HTTP listener reports it."""

    status: str
    """healthy, starting, degraded, unhealthy or shuttingdown."""
    alive: bool
    ready: bool
    reason: str
    uptime_seconds: int
    uptime_percent: float
    probes: tuple[ProbeResult, ...]


@dataclass(frozen=True, slots=True)
class SnapshotChunk:
    """Bytes of a backup file, in order; verified before a caller gets them."""

    snapshot_id: int
    offset: int
    data: bytes
    total_bytes: int
    sha256: str
    """Of the whole file; with the last chunk only."""
