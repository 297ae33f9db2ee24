"""Metric families as values, and the text Prometheus reads.

The published names end in `_total` only sometimes, which client libraries do not allow for
counters; the text format does, so it is written here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from amaters_server.telemetry.counters import SECONDS_BUCKETS, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
NO_LABELS: Labels = {}


class Sample(NamedTuple):
    """One number of a family."""

    suffix: str
    labels: Labels
    value: float


@dataclass(slots=True)
class Family:
    """One metric: its name, its kind, and its numbers."""

    name: str
    kind: str
    help: str
    samples: list[Sample] = field(default_factory=list)

    def add(self, value: float, labels: Labels = NO_LABELS) -> "Family":
        """Add a number."""
        self.samples.append(Sample("", labels, value))
        return self

    def add_histogram(
        self,
        histogram: Histogram,
        labels: Labels = NO_LABELS,
        *,
        bounds: Sequence[float] = SECONDS_BUCKETS,
        scale: float = 1.0,
    ) -> "Family":
        """Add a histogram, shown at the given bounds, which are some of its own, scaled."""
        seen = 0
        for bound, number in zip(SECONDS_BUCKETS, histogram.buckets, strict=False):
            seen += number
            if bound in bounds:
                bucket = {**labels, "le": number_text(bound * scale)}
                self.samples.append(Sample("_bucket", bucket, seen))
        self.samples.append(Sample("_bucket", {**labels, "le": "+Inf"}, histogram.count))
        self.samples.append(Sample("_sum", labels, histogram.total * scale))
        self.samples.append(Sample("_count", labels, histogram.count))
        return self


def counter(name: str, text: str, value: float | None = None) -> Family:
    """Return a family that only grows."""
    return _family(name, "counter", text, value)


def gauge(name: str, text: str, value: float | None = None) -> Family:
    """Return a family that goes up and down."""
    return _family(name, "gauge", text, value)


def histogram(name: str, text: str) -> Family:
    """Return a family of histograms."""
    return Family(name, "histogram", text)


def _family(name: str, kind: str, text: str, value: float | None) -> Family:
    family = Family(name, kind, text)
    return family if value is None else family.add(value)


def render(families: Iterable[Family]) -> str:
    """Return the text; families without numbers are left out."""
    return "\n".join(line for family in families if family.samples for line in _lines(family))


def _lines(family: Family) -> Iterable[str]:
    yield f"# HELP {family.name} {family.help}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples:
        yield f"{family.name}{sample.suffix}{_labels(sample.labels)} {number_text(sample.value)}"
    yield ""


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def number_text(value: float) -> str:
    """Write a number as published: whole ones plainly, others with up to six decimals."""
    if float(value).is_integer():
        return str(int(value))
    return f"{value:.6f}".rstrip("0") or "0"
