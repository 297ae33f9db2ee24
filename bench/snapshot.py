"""How fast a node writes its data to a snapshot, and a cluster takes them back from one."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from bench.effort import Effort
from bench.loading import Records
from bench.nodes import AmatersNodes
from bench.report import Figures, Report

VALUE_BYTES = 1024
LIMIT = timedelta(minutes=20)


async def run(effort: Effort, folder: Path, say: Callable[[str], None]) -> Report:
    """Fill one node and three nodes; write a snapshot on the leader; restore it over the data."""
    rows: list[tuple[str, ...]] = []
    raw: dict[str, object] = {}
    for size in (1, 3):
        cluster = AmatersNodes(folder, size)
        try:
            await cluster.start()
            measured = await _there_and_back(cluster, Records(effort.records, VALUE_BYTES), say)
        finally:
            cluster.stop()
        raw[cluster.name] = measured
        rows.append((cluster.name, *(f"{figure:,.1f}" for figure in measured.values())))
    columns = ("what", "MiB of data", "MiB of file", "write s", "write MiB/s")
    return Report(
        scenario="snapshot",
        tables=(Figures("Snapshots", (*columns, "restore s", "restore MiB/s"), tuple(rows)),),
        notes=("MiB/s count keys and values; a restore goes through the log of every node.",),
        raw=raw,
    )


async def _there_and_back(
    cluster: AmatersNodes, records: Records, say: Callable[[str], None]
) -> dict[str, float]:
    leader = await cluster.leader()
    say(f"{cluster.name}: writing {records.count:,} records of {VALUE_BYTES} bytes")
    await records.load(leader.client)
    async with leader.admin(LIMIT) as admin:
        say(f"{cluster.name}: snapshot")
        begin = time.monotonic()
        made = await admin.create_snapshot(timeout=LIMIT)
        written = time.monotonic() - begin
        say(f"{cluster.name}: restore")
        begin = time.monotonic()
        async for _ in admin.restore_snapshot(str(made.id), replace=True, timeout=LIMIT):
            pass
        restored = time.monotonic() - begin
    await records.require_there(leader.client)
    return {
        "megabytes": records.megabytes,
        "file_megabytes": made.size_bytes / 2**20,
        "write_seconds": written,
        "write_rate": records.megabytes / written,
        "restore_seconds": restored,
        "restore_rate": records.megabytes / restored,
    }
