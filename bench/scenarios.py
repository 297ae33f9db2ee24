"""The scenarios by name, each with the servers it needs."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from bench import places, throughput
from bench.effort import Effort
from bench.report import Report
from bench.targets import BareGrpcio, EtcdMembers, Target

Say = Callable[[str], None]
Scenario = Callable[[Effort, str, Path, Say], Awaitable[Report]]


async def _throughput(effort: Effort, only: str, folder: Path, say: Say) -> Report:
    etcd = places.etcd()
    if etcd is None:
        say("etcd is not installed (Debian: etcd-server): its column stays empty")
    found: list[Target] = [BareGrpcio(folder)]
    if etcd:
        found.append(EtcdMembers(folder, etcd))
    return await throughput.run([one for one in found if only in one.name], effort, folder, say)


ALL: dict[str, Scenario] = {
    "throughput": _throughput,
}
