"""What an operator may turn on the disk engine; knows nothing of the engine itself."""

import enum
from dataclasses import dataclass, field

from amaters_server.storage.engine import CompactionTuning

_MIB = 1024 * 1024


class Compression(enum.Enum):
    """How table files are compressed."""

    NONE = "none"
    SNAPPY = "snappy"
    LZ4 = "lz4"
    ZSTD = "zstd"


class Compaction(enum.Enum):
    """How table files are merged: less room, or fewer rewrites."""

    LEVELED = "leveled"
    UNIVERSAL = "universal"


@dataclass(frozen=True, slots=True)
class RocksTuning:
    """What an operator may turn; the defaults suit a few GiB of memory."""

    block_cache_bytes: int = 256 * _MIB
    memtable_bytes: int = 64 * _MIB
    bloom_bits_per_key: int = 10
    compression: Compression = Compression.LZ4
    compaction: Compaction = Compaction.LEVELED
    levels: int = 7
    running: CompactionTuning = field(default_factory=CompactionTuning)
    open_files: int = 512

    @property
    def flush_bytes(self) -> int:
        """What the memory tables of log and data hold together."""
        return 2 * self.memtable_bytes
