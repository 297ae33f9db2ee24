"""The one door to `prometheus_client`: families of metrics, and the formats that scrapers read."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from typing_extensions import override

from amaters_server.telemetry.counters import SECONDS_BUCKETS, Histogram

__all__ = ["Metric", "Page", "add_histogram", "counter", "gauge", "histogram", "page", "process"]

_spelled: Callable[[float], str] = floatToGoString
_PROCESS = ProcessCollector(registry=None)

Counter = CounterMetricFamily | UnknownMetricFamily
gauge = GaugeMetricFamily
histogram = HistogramMetricFamily


class Page(NamedTuple):
    """What a scraper gets."""

    body: bytes
    content_type: str


def counter(
    name: str, text: str, value: float | None = None, labels: Sequence[str] | None = None
) -> Counter:
    """Return a family that only grows.

    The library calls every counter `…_total`. One that was published under another name keeps
    that name, and has no type instead.
    """
    family = CounterMetricFamily if name.endswith("_total") else UnknownMetricFamily
    return family(name, text, value, labels)


def add_histogram(
    family: HistogramMetricFamily,
    counted: Histogram,
    labels: Sequence[str] = (),
    *,
    bounds: Collection[float] = SECONDS_BUCKETS,
    scale: float = 1.0,
) -> HistogramMetricFamily:
    """Add a histogram, shown at the given bounds, which are some of its own, scaled."""
    buckets, below = [], 0
    for bound, number in zip(SECONDS_BUCKETS, counted.buckets, strict=False):
        below += number
        if bound in bounds:
            buckets.append((_spelled(bound * scale), float(below)))
    buckets.append(("+Inf", float(counted.count)))
    family.add_metric(labels, buckets, counted.total * scale)
    return family


def process() -> Iterable[Metric]:
    """Return what the library reports of every process: `process_cpu_seconds_total` and others."""
    return _PROCESS.collect()


def page(families: Iterable[Metric], accept: str) -> Page:
    """Write the page in the format that the `Accept` header asks for, OpenMetrics included.

    Families without numbers are left out.
    """
    try:
        encode, content_type = choose_encoder(accept)
    except TypeError:
        # The library compares the version that a scraper asks for with numbers, also if it is none.
        encode, content_type = choose_encoder("")
    return Page(encode(_Collected([one for one in families if one.samples])), content_type)


@dataclass(frozen=True, slots=True)
class _Collected(Collector):
    families: Sequence[Metric]

    @override
    def collect(self) -> Iterable[Metric]:
        return self.families
