"""Our own server as its users run it: one process for each node, a configuration file, real disks."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import tomli_w
from amaters.admin.client import AdminClient
from amaters.admin.cluster import NodeStatus
from amaters.errors import AmatersError
from amaters_server.testing.ports import free_ports

from bench import dialects, places
from bench.dialects import Dialect
from bench.processes import Program, until

ASK = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where one node listens."""

    client: int
    peer: int
    http: int


class Node:
    """One amaters-server: its folder, its addresses, its process."""

    def __init__(self, number: int, folder: Path, ports: Ports) -> None:
        self.number = number
        self.folder = folder
        self.client = f"127.0.0.1:{ports.client}"
        self.peer = f"127.0.0.1:{ports.peer}"
        self.http = f"127.0.0.1:{ports.http}"
        config = folder / "config.toml"
        command: list[str | Path] = [*places.server(), "start", "--config", config]
        self.program = Program(f"amaters {number}", command, folder / "log")

    def configure(
        self, cluster: Mapping[str, object], tables: Mapping[str, Mapping[str, object]]
    ) -> None:
        """Write its configuration: defaults but for addresses, folders, and these tables."""
        content = {
            "server": {
                "bind_address": self.client,
                "data_dir": str(self.data),
                "pid_file": str(self.folder / "pid"),
            },
            "metrics": {"bind_address": self.http},
            "logging": {"level": "warn", "format": "json"},
            "cluster": {
                "name": f"bench-{self.number}",
                "bind_address": self.peer,
                "advertise_address": self.peer,
                "client_advertise_address": self.client,
                **cluster,
            },
            **tables,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.toml").write_text(tomli_w.dumps(content))

    @property
    def data(self) -> Path:
        """Where its data are."""
        return self.folder / "data"

    def wipe(self) -> None:
        """Lose its disk."""
        shutil.rmtree(self.data, ignore_errors=True)

    @asynccontextmanager
    async def admin(self, timeout: timedelta = ASK) -> AsyncIterator[AdminClient]:
        """Connect to its admin service."""
        async with AdminClient.connect(self.peer, timeout=timeout) as admin:
            yield admin

    async def status(self) -> NodeStatus | None:
        """Return what it says about itself, or None while it does not answer."""
        try:
            async with self.admin() as admin:
                return await admin.status()
        except AmatersError:
            return None

    async def ready(self) -> bool:
        """Whether it takes part and serves clients, in its own words."""
        found = await self.status()
        return found is not None and found.ready


class AmatersNodes:
    """A cluster of our own server on loopback."""

    def __init__(
        self,
        folder: Path,
        size: int,
        tables: Mapping[str, Mapping[str, object]] | None = None,
        dialect: Dialect = dialects.AQL,
    ) -> None:
        """`tables` are what the nodes are configured with beside addresses and folders."""
        self.dialect = dialect
        self._tables = tables or {}
        self.name = f"AmateRS, {size} nodes" if size > 1 else "AmateRS, 1 node"
        self._folder = folder / f"amaters-of-{size}"
        self.nodes = [self._node(number) for number in range(1, size + 1)]
        peers = [f"{node.number}:{node.peer}" for node in self.nodes]
        for node in self.nodes:
            node.configure({"peers": peers}, self._tables)

    @property
    def programs(self) -> Sequence[Program]:
        """The processes of all nodes."""
        return [node.program for node in self.nodes]

    async def start(self) -> None:
        """Start every node that does not run and wait until all are ready under one leader."""
        for node in self.nodes:
            if not node.program.alive:
                node.program.start()
        await until(self.settled, f"ready cluster of {len(self.nodes)}", self.programs, 120)

    async def settled(self) -> bool:
        """Whether all nodes are ready and name the same leader."""
        found = await asyncio.gather(*(node.status() for node in self.nodes))
        named = {one.leader_id if one and one.ready else 0 for one in found}
        return len(named) == 1 and 0 not in named

    async def leader(self) -> Node:
        """Return the node that leads; the cluster must have settled."""
        for node in self.nodes:
            found = await node.status()
            if found and found.is_leader:
                return node
        raise LookupError("no node leads: wait until the cluster has settled")

    async def addresses(self) -> tuple[str, ...]:
        """Return the nodes' client addresses, the leader's first."""
        leader = await self.leader()
        return (leader.client, *(node.client for node in self.nodes if node is not leader))

    def stop(self) -> None:
        """End all nodes at once."""
        for program in self.programs:
            program.kill()

    def newcomer(self) -> Node:
        """Return one more node with an empty disk, configured to join; it is not started."""
        node = self._node(len(self.nodes) + 1)
        node.configure({"join": [one.peer for one in self.nodes]}, self._tables)
        return node

    def _node(self, number: int) -> Node:
        ports = Ports(*free_ports(3))
        return Node(number, self._folder / f"node-{number}", ports)
