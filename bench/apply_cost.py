"""What applying a write and handing it to RocksDB costs one member: `python -m bench.apply_cost`.

Prints µs of processor time for each key, of entries with 64 Sets, without the log and without a sync.
"""

import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

from amaters_server.machine.codec import ProposalId, encode_writes
from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import Membership
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Put, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.storage.rocks.engine import RocksEngine

ENTRIES = 3_000
SETS = 64

KEYS: dict[str, Callable[[random.Random, int], int]] = {
    "2,000 keys again and again": lambda chance, _: chance.randrange(2_000),
    "200,000 keys at random": lambda chance, _: chance.randrange(200_000),
    "new keys": lambda _, place: place,
}


def log(of: Callable[[random.Random, int], int]) -> list[Committed]:
    """Return the entries to apply."""
    chance, value, entries = random.Random(5), os.urandom(120), []
    for index in range(2, ENTRIES + 2):
        names = [b"%016d" % of(chance, index * SETS + place) for place in range(SETS)]
        writes = [Write(0, [Put(data_key("bench", name), value)], 0.0) for name in names]
        data = encode_writes(ProposalId(1, 1, index), writes, unix_ms=0)
        entries.append(Committed(index, 1, EntryKind.NORMAL, data))
    return entries


def measured(entries: list[Committed]) -> float:
    """Apply the entries to an empty database and return the µs for each key."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        engine = RocksEngine(Path(folder) / "db")
        machine = Machine(engine)
        engine.write(machine.form(Membership("c"), index=1, term=1), sync=True)
        began = process_time()
        for entry in entries:
            applied = machine.apply([entry])
            engine.write(applied.changes, sync=False)
            machine.written(applied.version)
        taken = process_time() - began
        engine.close()
    return taken * 1e6 / (len(entries) * SETS)


if __name__ == "__main__":
    for name, of in KEYS.items():
        print(f"{name:28} {measured(log(of)):6.2f}")
