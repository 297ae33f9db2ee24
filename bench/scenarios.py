"""The scenarios by name, each with the servers it needs."""

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench import (
    catchup,
    failover,
    operator_load,
    permissions,
    places,
    restart,
    snapshot,
    table_files,
    tables,
    throughput,
)
from bench.effort import FULL, Effort
from bench.etcd_group import EtcdGroup
from bench.groups import AmatersGroup, Group
from bench.nodes import AmatersNodes
from bench.report import Report
from bench.targets import BareGrpcio, EtcdMembers, Target

Say = Callable[[str], None]
Scenario = Callable[[Effort, str, Path, Say], Awaitable[Report]]


async def _throughput(effort: Effort, only: str, folder: Path, say: Say) -> Report:
    etcd = places.etcd()[: 2 if effort.rounds >= FULL.rounds else 1]
    if not etcd:
        say("etcd is not installed (Debian: etcd-server): its column stays empty")
    found: list[Target] = [
        BareGrpcio(folder),
        AmatersNodes(folder, 1),
        AmatersNodes(folder, 3),
        *(EtcdMembers(folder, program) for program in etcd),
    ]
    return await throughput.run([one for one in found if only in one.name], effort, folder, say)


async def _failover(effort: Effort, only: str, folder: Path, say: Say) -> Report:
    found: list[Group] = [AmatersGroup(AmatersNodes(folder, 3))]
    found += [EtcdGroup(EtcdMembers(folder, program)) for program in places.etcd()[:1]]
    return await failover.run([one for one in found if only in one.name], effort, say)


def _alone(scenario: Callable[[Effort, Path, Say], Awaitable[Report]]) -> Scenario:
    """Adapt a scenario that measures nothing but our own nodes."""

    async def run(effort: Effort, _only: str, folder: Path, say: Say) -> Report:
        return await scenario(effort, folder, say)

    return run


async def _tables(effort: Effort, folder: Path, say: Say) -> Report:
    """Measure whole tables within a node, and then through files."""
    within = await tables.run(effort, folder / "within", say)
    files = await table_files.run(effort, folder / "files", say)
    return dataclasses.replace(
        within,
        tables=within.tables + files.tables,
        notes=within.notes + files.notes,
        raw=within.raw | files.raw,
    )


ALL: dict[str, Scenario] = {
    "throughput": _throughput,
    "failover": _failover,
    "permissions": _alone(permissions.run),
    "operator": _alone(operator_load.run),
    "catchup": _alone(catchup.run),
    "restart": _alone(restart.run),
    "snapshot": _alone(snapshot.run),
    "tables": _alone(_tables),
}
