"""How long a full cluster needs from SIGKILL of every node until all are ready again."""

import time
from collections.abc import Callable
from pathlib import Path

from bench.effort import Effort
from bench.loading import Records
from bench.nodes import AmatersNodes
from bench.report import Figures, Report

VALUE_BYTES = 100


async def run(effort: Effort, folder: Path, say: Callable[[str], None]) -> Report:
    """Fill three nodes, kill them all at once, start them all, and wait."""
    records = Records(effort.records, VALUE_BYTES)
    cluster = AmatersNodes(folder, 3)
    try:
        await cluster.start()
        say(f"writing {records.count:,} records of {VALUE_BYTES} bytes")
        loading = await records.load((await cluster.leader()).client)
        say("killing all nodes")
        cluster.stop()
        begin = time.monotonic()
        await cluster.start()
        seconds = time.monotonic() - begin
        await records.require_there(cluster.nodes[0].client)
    finally:
        cluster.stop()
    columns = ("what", "seconds until all are ready")
    row = (f"{records.count:,} records, all nodes killed", f"{seconds:.1f}")
    return Report(
        scenario="restart",
        tables=(Figures("Restart of the whole cluster", columns, (row,)),),
        notes=(f"Loading took {loading:.1f} s, {records.count / loading:,.0f} records/s.",),
        raw={"records": records.count, "seconds": seconds, "loading_seconds": loading},
    )
