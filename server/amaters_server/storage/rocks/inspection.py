"""Reads the tables of a checkpoint from the disk, block by block, each against its checksum.

Filters are not read: a damaged one costs time, never a row.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rocksdict import BlockBasedOptions, Rdict, ReadOptions

from amaters_server.storage.engine import DamagedError, Space
from amaters_server.storage.rocks.options import database_options, family_options
from amaters_server.storage.rocks.tuning import RocksTuning

_OPEN_FILES = 32
_READAHEAD_BYTES = 512 * 1024
_TABLE = re.compile(r"/(\d+\.sst)\b")


class RocksInspection:
    """One checkpoint, opened without a cache."""

    def __init__(self, folder: Path, tuning: RocksTuning) -> None:
        """Open it; DamagedError when its tables or its manifest cannot be opened."""
        small = replace(tuning, block_cache_bytes=0, open_files=_OPEN_FILES)
        options = database_options(small, None, compacts=False)
        families = family_options(small, compacts=False)
        for family in families.values():
            family.set_block_based_table_factory(_uncached())
        try:
            # Not for reading only: with a log in the folder that crashes the process.
            database = Rdict(str(folder), options, families)
            self._columns = {space: database.get_column_family(space.value) for space in Space}
        except Exception as error:
            raise DamagedError(_without(folder, error), None) from error
        self._folder = folder
        self._database: Rdict | None = database
        files = database.live_files()
        self.tables = len(files)
        self.size_bytes = sum(int(one["size"]) for one in files)
        self._ends = {str(one["name"]).strip("/"): bytes(one["end_key"]) for one in files}

    def rows(self, space: Space, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Walk all rows of the keyspace from that key on; DamagedError where one cannot be read."""
        reading = ReadOptions()
        reading.set_verify_checksums(True)
        reading.set_readahead_size(_READAHEAD_BYTES)
        iterator = self._columns[space].iter(reading)
        iterator.seek(start)
        last = start
        while iterator.valid():
            last = iterator.key()
            yield last, iterator.value()
            iterator.next()
        try:
            iterator.status()
        except Exception as error:
            raise DamagedError(
                _without(self._folder, error), self._behind(str(error), last)
            ) from error

    def close(self) -> None:
        """Close the files; idempotent."""
        database, self._database = self._database, None
        self._columns = {}
        if database is not None:
            database.close()

    def _behind(self, text: str, last: bytes) -> bytes | None:
        """Return the first key behind the damaged table, None when that is unknown."""
        named = _TABLE.search(text)
        end = None if named is None else self._ends.get(named[1])
        return None if end is None or end <= last else end + b"\0"


def _uncached() -> BlockBasedOptions:
    table = BlockBasedOptions()
    table.disable_cache()
    return table


def _without(folder: Path, error: Exception) -> str:
    """Return the error's text; the folder of the copy says nothing to anybody."""
    return str(error).replace(f"{folder}/", "")
