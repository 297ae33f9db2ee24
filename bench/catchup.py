"""How long an empty follower needs until it holds what the leader held when it came."""

import time
from collections.abc import Callable
from pathlib import Path

from bench.effort import Effort
from bench.loading import Records
from bench.nodes import AmatersNodes, Node
from bench.processes import until
from bench.report import Figures, Report

VALUE_BYTES = 1024
LIMIT_SECONDS = 600


async def run(effort: Effort, folder: Path, say: Callable[[str], None]) -> Report:
    """Fill three nodes, add a fourth with an empty disk, and wait for it."""
    records = Records(effort.megabytes * 2**20 // (VALUE_BYTES + 14), VALUE_BYTES)
    cluster = AmatersNodes(folder, 3)
    newcomer = cluster.newcomer()
    try:
        await cluster.start()
        leader = await cluster.leader()
        say(f"writing {records.count:,} records of {VALUE_BYTES} bytes")
        loading = await records.load(leader.client)
        say("adding a node with an empty disk")
        seconds, how = await _join(leader, newcomer)
        await records.require_there(newcomer.client)
    finally:
        newcomer.program.kill()
        cluster.stop()
    rate = records.megabytes / seconds
    row = (f"{records.megabytes:,.0f} MiB", f"{seconds:.1f}", f"{rate:,.0f}", how)
    columns = ("what", "seconds", "MiB/s", "by")
    return Report(
        scenario="catchup",
        tables=(Figures("An empty follower catches up", columns, (row,)),),
        notes=(f"Loading took {loading:.1f} s, {records.megabytes / loading:.0f} MiB/s.",),
        raw={"megabytes": records.megabytes, "seconds": seconds, "loading_seconds": loading},
    )


async def _join(leader: Node, newcomer: Node) -> tuple[float, str]:
    found = await leader.status()
    goal = found.commit_index if found else 0
    begin = time.monotonic()
    newcomer.program.start()
    async with leader.admin() as admin:
        await admin.add_member(peer_address=newcomer.peer, client_address=newcomer.client)

    async def caught_up() -> bool:
        seen = await newcomer.status()
        return seen is not None and seen.applied_index >= goal

    await until(caught_up, "follower that has caught up", [newcomer.program], LIMIT_SECONDS)
    seconds = time.monotonic() - begin
    seen = await newcomer.status()
    return seconds, "log" if seen and seen.first_log_index <= 1 else "image"
