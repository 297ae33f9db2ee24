"""Counts kept on the hot path: plain integers that only the event loop writes.

Nothing here knows of Prometheus: `http.exposition` reads these when a scraper asks.
"""

import enum
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from amaters_server.telemetry.requests import RequestRing

SECONDS_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, as published."""


class Op(enum.Enum):
    """The kinds of operations that are counted apart, by their published labels."""

    GET = "get"
    PUT = "put"
    DELETE = "delete"
    UPDATE = "update"
    RANGE = "range"
    BATCH = "batch"
    STREAM = "stream"


@dataclass(slots=True)
class Histogram:
    """How many observations fell below each bound; the last bucket takes the rest."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(SECONDS_BUCKETS) + 1))
    total: float = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Count one observation, or many equal ones."""
        self.buckets[bisect_left(SECONDS_BUCKETS, seconds)] += times
        self.total += seconds * times

    @property
    def count(self) -> int:
        """Return how many observations there were."""
        return sum(self.buckets)

    def quantile(self, share: float) -> float:
        """Return the bound below which that share of the observations fell; 0 without any."""
        wanted, seen = share * self.count, 0
        for bound, number in zip(
            (*SECONDS_BUCKETS, SECONDS_BUCKETS[-1]), self.buckets, strict=True
        ):
            seen += number
            if seen and seen >= wanted:
                return bound
        return 0.0


METHODS = {Op.BATCH: "ExecuteBatch", Op.STREAM: "ExecuteStream"}
"""The published methods of operations; all others are of `ExecuteQuery`."""


@dataclass(slots=True)
class OpCounters:
    """One kind of operation: how often it failed, and how long it took."""

    op: Op
    errors: int = 0
    latency: Histogram = field(default_factory=Histogram)

    @property
    def method(self) -> str:
        """The published name of the method that carries it out."""
        return METHODS.get(self.op, "ExecuteQuery")


@dataclass(slots=True)
class CallCounters:
    """Everything counted about the calls of one server."""

    ops: dict[Op, OpCounters] = field(default_factory=lambda: {op: OpCounters(op) for op in Op})
    health_checks: int = 0
    server_infos: int = 0
    refused: int = 0
    """Calls answered with an error before anything was tried."""
    faults: int = 0
    """Answers that were errors of this server, not of the request."""
    turned_away: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("rate", "client_rate", "memory"), 0)
    )
    """Calls refused because a limit of the configuration was reached, by that limit."""
    active: int = 0
    """Calls being carried out now."""
    recent: RequestRing = field(default_factory=RequestRing)
    """The last calls, one by one."""

    @property
    def requests(self) -> int:
        """Return the calls answered."""
        return self.answered + self.health_checks + self.server_infos + self.refused

    @property
    def answered(self) -> int:
        """Return the operations that were tried."""
        return sum(op.latency.count for op in self.ops.values())

    @property
    def errors(self) -> int:
        """Return the calls answered with an error, in-band or not."""
        return sum(op.errors for op in self.ops.values()) + self.refused

    @property
    def seconds(self) -> float:
        """Return the time all operations took together."""
        return sum(op.latency.total for op in self.ops.values())


@dataclass(frozen=True, slots=True)
class ProtectionCounts:
    """What was counted about callers since the start."""

    logins: Mapping[str, int]
    """Verified credentials, and refusals, by outcome."""
    denied: int
    """Calls whose caller may not do what they ask."""
    audit_dropped: int
    """Events that are in no line of the audit log."""
    audit_failing: bool
    """The audit log takes no lines now."""


MOST_CLIENT_VERSIONS = 16
"""So many versions are reported, the oldest: an upgrade asks for those, and callers choose them."""


@dataclass(frozen=True, slots=True)
class ConnectedClients:
    """Open connections of clients of one version."""

    version: str
    """Empty: clients that do not say it."""
    connections: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a listener counted since its start, and how much is open now."""

    connections: int = 0
    connections_total: int = 0
    calls_total: int = 0
    calls_in_flight: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    handshake_failures: int = 0
    rejected: int = 0
    """Refused for any limit, those for their client's own included."""
    rejected_per_client: int = 0
    last_rejected_client: str | None = None
    rejected_for_descriptors: int = 0
    bytes_held: int = 0
    """Of answers that callers have not taken yet."""
    cut_for_slowness: int = 0
    """Connections ended because they did not take their answers."""
    cut_for_floods: int = 0
    """Connections ended because of too many PING, SETTINGS, RST_STREAM or useless frames."""
    sent_elsewhere: int = 0
    """Connections that were told to go, because they were idle or old."""
    clients: Sequence[ConnectedClients] = ()
    """The oldest first."""


@dataclass(frozen=True, slots=True)
class GatewayTraffic:
    """What the REST gateway counted since the start."""

    connections: int = 0
    connections_total: int = 0
    answers: Mapping[int, int] = field(default_factory=dict)
    """By HTTP status."""
    bytes_sent: int = 0
    bytes_held: int = 0
    """Of answers that their callers have not taken."""
    cut_for_slowness: int = 0
    rejected: int = 0
    rejected_per_client: int = 0
    handshake_failures: int = 0
