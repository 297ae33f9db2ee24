"""Probes of the data disk: whether it can be written and appended to, and whether there is room.

They block, so they run in a thread, on a schedule, and never when someone asks.
"""

import enum
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIN_FREE_BYTES = 512 * 1024 * 1024


class ProbeStatus(enum.Enum):
    """How a probe went."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How one probe went, and how long it took."""

    status: ProbeStatus
    message: str
    latency_ms: float = 0.0


Probe = Callable[[], ProbeResult]


def worst(results: dict[str, ProbeResult]) -> ProbeStatus:
    """Return the worst of the results; healthy when there are none."""
    order = list(ProbeStatus)
    return max((one.status for one in results.values()), key=order.index, default=order[0])


def run_all(probes: dict[str, Probe]) -> dict[str, ProbeResult]:
    """Run every probe, one after another; blocks."""
    results = {}
    for name, probe in probes.items():
        started = time.perf_counter()
        result = probe()
        taken = 1000 * (time.perf_counter() - started)
        results[name] = ProbeResult(result.status, result.message, round(taken, 3))
    return results


def disk_probes(data_dir: Path, wal_dir: Path) -> dict[str, Probe]:
    """Return the probes of a server that keeps its data on disk."""
    return {
        "storage": lambda: probe_storage(data_dir),
        "wal": lambda: probe_wal(wal_dir),
        "disk_space": lambda: probe_disk_space(data_dir),
    }


def probe_storage(folder: Path) -> ProbeResult:
    """Write, read and delete a small file."""
    file, content = folder / ".health_probe_test", b"health_probe"
    try:
        file.write_bytes(content)
        same = file.read_bytes() == content
    except OSError as wrong:
        return ProbeResult(ProbeStatus.UNHEALTHY, f"storage cannot be written: {wrong.strerror}")
    if not same:
        return ProbeResult(ProbeStatus.UNHEALTHY, "storage does not return what was written")
    try:
        file.unlink()
    except OSError as wrong:
        return ProbeResult(ProbeStatus.DEGRADED, f"storage cannot delete: {wrong.strerror}")
    return ProbeResult(ProbeStatus.HEALTHY, "storage read/write/delete OK")


def probe_wal(folder: Path) -> ProbeResult:
    """Open a file for appending where the write-ahead log is."""
    file = folder / ".wal_health_probe"
    try:
        with file.open("ab"):
            pass
        file.unlink(missing_ok=True)
    except OSError as wrong:
        text = f"WAL directory is not appendable: {wrong.strerror}"
        return ProbeResult(ProbeStatus.UNHEALTHY, text)
    return ProbeResult(ProbeStatus.HEALTHY, "WAL directory is appendable")


def probe_disk_space(folder: Path, min_free_bytes: int = MIN_FREE_BYTES) -> ProbeResult:
    """Compare the room left with what a server needs to go on for a while."""
    try:
        found = os.statvfs(folder)
    except OSError as wrong:
        return ProbeResult(ProbeStatus.UNHEALTHY, f"disk space unknown: {wrong.strerror}")
    free = found.f_bavail * found.f_frsize
    facts = f"{free} bytes available (threshold: {min_free_bytes})"
    if free >= min_free_bytes:
        return ProbeResult(ProbeStatus.HEALTHY, f"disk space OK: {facts}")
    if free >= min_free_bytes // 4:
        return ProbeResult(ProbeStatus.DEGRADED, f"disk space low: {facts}")
    return ProbeResult(ProbeStatus.UNHEALTHY, f"disk space critically low: {facts}")
