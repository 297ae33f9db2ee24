"""Where the page of metrics takes its numbers from."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from amaters_server.alerts.webhook import WebhookCounts
from amaters_server.cache import ResultCache
from amaters_server.machine.collection_count import Holdings
from amaters_server.node.values import Counters, DiskReport, MembersReport, NodeStatus, Verdict
from amaters_server.storage.engine import EngineStatistics
from amaters_server.telemetry.certificates import CertificateFacts
from amaters_server.telemetry.counters import (
    CallCounters,
    GatewayTraffic,
    Histogram,
    ProtectionCounts,
    Traffic,
)


@dataclass(frozen=True, slots=True)
class MetricSources:
    """What is counted anyway, and whom to ask for the rest when a scraper comes."""

    calls: CallCounters
    rate: Callable[[], float]
    """How many calls a second are taken; 0: no limit."""
    node: Counters
    traffic: Callable[[], Traffic]
    storage: Callable[[], EngineStatistics]
    disk: Callable[[], DiskReport]
    holdings: Callable[[], Awaitable[Holdings | None]]
    """How much data there is; None while it is being counted."""
    status: Callable[[], NodeStatus]
    readiness: Callable[[], Verdict]
    members: Callable[[], Awaitable[MembersReport]]
    certificates: Callable[[], Sequence[CertificateFacts]]
    alerts: Mapping[tuple[str, str], int]
    """Alerts fired, by rule and severity."""
    webhook: WebhookCounts
    refused_inside: Mapping[str, int]
    """Calls on the internal port that were refused for their certificates, by what they wanted."""
    protection: Callable[[], ProtectionCounts] | None = None
    """Absent where no caller is asked."""
    results: ResultCache | None = None
    """Absent where no answers are kept."""
    gateway: Callable[[], GatewayTraffic] | None = None
    """Absent where it is switched off."""
    storage_writes: Histogram = field(default_factory=Histogram)
    """What `drain` has taken from the node so far."""

    def drain(self) -> None:
        """Count the storage writes since the last time, so that they do not pile up."""
        for seconds in self.node.storage_durations:
            self.storage_writes.observe(seconds)
        self.node.storage_durations.clear()
