"""How much room there is for an engine on its disk."""

import shutil
from dataclasses import dataclass
from pathlib import Path

_TO_OPEN_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Room:
    """Free and total bytes, and whose they are."""

    free: int
    total: int
    where: str


def measured(folder: Path) -> Room:
    """Measure the disk that holds the folder; OSError when it does not answer."""
    usage = shutil.disk_usage(folder)
    return Room(usage.free, usage.total, str(folder))


def is_enough(folder: Path, added: int) -> bool:
    """Whether a database there can be opened and so many bytes written to it.

    Opening moves to table files what is in the logs; failing half-way would end all reads.
    """
    logs = sum(path.stat().st_size for path in folder.glob("*.log"))
    return measured(folder).free > added + 2 * logs + _TO_OPEN_BYTES
