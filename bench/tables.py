"""What queries over a whole table cost at the leader: Update, Filter, a stream of all rows.

Values are 32 bytes: longer ones than 64 are ciphertexts to an Update.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from amaters import AmatersClient, Change, ClientOptions, Where

from bench import dialects
from bench.effort import Effort
from bench.loading import Records
from bench.nodes import AmatersNodes, Node
from bench.report import Figures, Report

VALUE_BYTES = 32
LIMIT = timedelta(minutes=10)
PAUSE_SECONDS = 0.01
"""Between two questions whether the leader still answers."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One query over the table."""

    seconds: float
    rows: int
    peak_megabytes: float
    """What the leader's process held at most since it began."""
    longest_silence: float
    """Seconds that a health check took at most meanwhile."""


async def run(effort: Effort, folder: Path, say: Callable[[str], None]) -> Report:
    """Fill a node and three nodes, and ask for all rows in every way there is."""
    rows: list[tuple[str, ...]] = []
    raw: dict[str, object] = {}
    for size in (1, 3):
        cluster = AmatersNodes(folder, size)
        try:
            await cluster.start()
            measured = await _queries(cluster, Records(effort.records, VALUE_BYTES), say)
        finally:
            cluster.stop()
        for name, one in measured.items():
            rows.append(
                (
                    f"{cluster.name}: {name}",
                    f"{one.seconds:,.2f}",
                    f"{one.rows / one.seconds:,.0f}",
                    f"{one.peak_megabytes:,.0f}",
                    f"{1000 * one.longest_silence:,.0f}",
                )
            )
        raw[cluster.name] = {name: vars_of(one) for name, one in measured.items()}
    columns = ("what", "s", "rows/s", "leader's peak MiB", "longest health check ms")
    return Report(
        scenario="tables",
        tables=(Figures(f"Tables of {effort.records:,} rows", columns, tuple(rows)),),
        notes=(f"Values of {VALUE_BYTES} bytes; a Filter that returns ten rows looks at all.",),
        raw=raw,
    )


def vars_of(one: Measured) -> dict[str, float]:
    """Return the figures by name."""
    return {name: getattr(one, name) for name in Measured.__slots__}


async def _queries(
    cluster: AmatersNodes, records: Records, say: Callable[[str], None]
) -> dict[str, Measured]:
    leader = await cluster.leader()
    say(f"{cluster.name}: writing {records.count:,} rows")
    await records.load(leader.client)
    options = ClientOptions(request_timeout=LIMIT)
    found: dict[str, Measured] = {}
    async with await AmatersClient.connect(leader.client, options=options) as client:

        async def updated() -> int:
            changes = [Change.add(b"\x01\xff"), Change.mul(b"\x03")]
            return await client.update(dialects.COLLECTION, Where.everything(), changes)

        async def updated_half() -> int:
            half = Where.lt(b"\x80")
            await client.update(dialects.COLLECTION, half, Change.add(b"\x01"))
            return records.count

        async def filtered() -> int:
            await client.filter(dialects.COLLECTION, Where.lt(b""), limit=10)
            return records.count

        async def streamed() -> int:
            return sum([1 async for _ in client.scan(dialects.COLLECTION)])

        works = {
            "Update of all rows": updated,
            "Update of every other row": updated_half,
            "Filter": filtered,
            "stream of all rows": streamed,
        }
        for name, work in works.items():
            say(f"{cluster.name}: {name}")
            found[name] = await _measured(leader, work)
    return found


async def _measured(leader: Node, work: Callable[[], Awaitable[int]]) -> Measured:
    silences = [0.0]
    async with await AmatersClient.connect(leader.client) as other:
        asking = asyncio.create_task(_ask(other, silences))
        begin = time.monotonic()
        try:
            rows = await work()
            seconds = time.monotonic() - begin
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
    return Measured(seconds, rows, _peak(leader.program.pid), max(silences))


async def _ask(client: AmatersClient, silences: list[float]) -> None:
    while True:
        begin = time.monotonic()
        await client.health_check()
        silences.append(time.monotonic() - begin)
        await asyncio.sleep(PAUSE_SECONDS)


def _peak(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = dict(line.split(":", 1) for line in lines)
    return int(sizes["VmHWM"].split()[0]) / 1024
