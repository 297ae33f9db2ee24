"""How much room there is for an engine on its disk."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TO_OPEN_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Room:
    """Free and total bytes, and whose they are."""

    free: int
    total: int
    where: str
    flush_bytes: int = 0
    """What a flush of everything in memory may add before it gives back the logs."""


def measured(folder: Path, flush_bytes: int = 0) -> Room:
    """Measure the disk that holds the folder; OSError when it does not answer."""
    usage = shutil.disk_usage(folder)
    return Room(usage.free, usage.total, str(folder), flush_bytes)


def scarcest(folders: Iterable[Path], flush_bytes: int) -> Room:
    """Measure the disk with the least room among those that hold the folders."""
    return min((measured(one, flush_bytes) for one in folders), key=lambda one: one.free)


def is_enough(folder: Path, logs: Iterable[Path], added: int) -> bool:
    """Whether a database there can be opened and so many bytes written to it.

    Opening moves to table files what is in the logs; failing half-way would end all reads.
    """
    waiting = sum(path.stat().st_size for path in logs)
    return measured(folder).free > added + 2 * waiting + _TO_OPEN_BYTES
