"""What a client noticed of many disturbances of one kind: percentiles of its longest gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def spread(values: Sequence[float]) -> str:
    """Say how many there are, and p50, p99 and maximum in milliseconds."""
    middle, late, most = (percentile(values, percent) for percent in (50, 99, 100))
    return f"{len(values)} gaps: p50 {middle:.0f} ms, p99 {late:.0f} ms, max {most:.0f} ms"
