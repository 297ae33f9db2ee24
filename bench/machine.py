"""The facts about this machine without which a figure means nothing."""

import os
import platform
import statistics
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import places

SYNCS = 200


@dataclass(frozen=True, slots=True)
class Facts:
    """Taken when the run begins."""

    date: str
    commit: str
    processor: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    etcd: str
    fsync_median_us: float
    """4 KiB appended and synced, on the disk that the benchmarks use."""
    load_before: float
    """Load average over a minute: well above zero means others were using the machine."""

    def sentence(self) -> str:
        """Return the facts as one sentence for a document."""
        return (
            f"{self.date}, commit {self.commit}; {self.cores} cores ({self.processor}), "
            f"{self.memory_gib:.0f} GiB, Linux {self.kernel}, Python {self.python}, "
            f"{self.etcd}; an fsync of 4 KiB takes {self.fsync_median_us:.0f} µs; "
            f"load before the run {self.load_before:.1f}."
        )


def facts(folder: Path) -> Facts:
    """Look around; the folder is on the disk that will be measured."""
    return Facts(
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        commit=_first_line("git", "describe", "--always", "--dirty"),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        kernel=platform.release(),
        python=platform.python_version(),
        etcd=_first_line("etcd", "--version").replace("etcd Version:", "etcd") or "no etcd",
        fsync_median_us=_fsync_median(folder) * 1e6,
        load_before=os.getloadavg()[0],
    )


class Neighbours:
    """How much of the machine's processor time others took since this was made."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._busy, self._own = _busy_seconds(), _own_seconds()

    def share(self) -> float:
        """Return their share, 0 to 1; right once every program of ours has ended."""
        theirs = (_busy_seconds() - self._busy) - (_own_seconds() - self._own)
        available = (time.monotonic() - self._begin) * (os.cpu_count() or 1)
        return max(theirs / available, 0.0)


def _busy_seconds() -> float:
    """Return the time all processors have spent on anything, waiting for disks not included."""
    user, nice, system, _idle, _waiting, *interrupts = map(
        int, Path("/proc/stat").read_text().partition("\n")[0].split()[1:8]
    )
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Return what this process and all its ended children have used."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _fsync_median(folder: Path) -> float:
    probe = folder / "fsync-probe"
    taken: list[float] = []
    with probe.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            begin = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begin)
    probe.unlink()
    return statistics.median(taken)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=places.ROOT, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""
    return done.stdout.partition("\n")[0].strip()
