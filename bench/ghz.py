"""One measurement with ghz, the neutral client: run it, and read what every call experienced."""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench import places
from bench.processes import mortal

WARM_UP_SECONDS = 0.4
"""Left out of the figures: connections are new, and ghz still parses its first messages."""
CONNECTIONS = 8


class GhzError(Exception):
    """ghz could not run, or calls failed that must not fail."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to send, and where to. Callers are shared out evenly over the addresses."""

    protos: Path
    proto: str
    method: str
    data: Path
    addresses: tuple[str, ...]
    callers: int
    seconds: float
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the callers saw."""

    calls: int
    """All calls of the run, warm-up included."""
    rate: float
    """Calls per second after the warm-up."""
    p50_ms: float
    p99_ms: float
    failures: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Call:
    ended: float
    seconds: float
    status: str


async def measure(order: Order) -> Measurement:
    """Run one ghz for each address at the same time and add up what they report."""
    share = math.ceil(order.callers / len(order.addresses))
    runs = [_run(order, address, share) for address in order.addresses]
    return summary(await asyncio.gather(*runs))


def summary(runs: Sequence[Sequence[_Call]]) -> Measurement:
    """Return rate and percentiles over the time in which all runs were warm and busy."""
    begin = max(min(call.ended - call.seconds for call in run) for run in runs) + WARM_UP_SECONDS
    end = min(max(call.ended for call in run) for run in runs)
    calls = [call for run in runs for call in run]
    counted = sorted(call.seconds for call in calls if begin < call.ended <= end)
    if not counted:
        raise GhzError("no call ended after the warm-up: measure for longer")
    failures = Counter(call.status for call in calls if call.status != "OK")
    return Measurement(
        calls=len(calls),
        rate=len(counted) / (end - begin),
        p50_ms=percentile(counted, 50) * 1000,
        p99_ms=percentile(counted, 99) * 1000,
        failures=dict(failures),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that is not below that share of the ordered values."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


async def _run(order: Order, address: str, callers: int) -> list[_Call]:
    process = await asyncio.create_subprocess_exec(
        *(*mortal(), str(places.ghz())),
        *("--insecure", "--import-paths", order.protos, "--proto", order.protos / order.proto),
        *("--call", order.method, "--data-file", order.data),
        *("--metadata", json.dumps(dict(order.metadata))),
        *("--disable-template-functions", "--disable-template-data"),
        *("--concurrency", str(callers), "--connections", str(min(callers, CONNECTIONS))),
        *("--duration", f"{order.seconds + WARM_UP_SECONDS}s", "--duration-stop", "wait"),
        *("--timeout", "10s", "--format", "json", address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise GhzError(f"ghz ended with {process.returncode}: {errors.decode().strip()}")
    return [_call(detail) for detail in json.loads(output)["details"] or ()]


def _call(detail: dict[str, str]) -> _Call:
    return _Call(
        ended=datetime.fromisoformat(detail["timestamp"]).timestamp(),
        seconds=int(detail["latency"]) / 1e9,
        status=detail["status"],
    )
