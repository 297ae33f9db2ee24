"""Local nodes as a person would start them: a configuration file each, one process each."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from amaters.admin.client import AdminClient
from amaters.admin.cluster import NodeStatus
from amaters.errors import AmatersError
from amaters_server.testing.ports import free_ports

CONFIGURATION = """\
# Written by `make demo`. Every key is explained in docs/configuration.md.
[server]
bind_address = "127.0.0.1:{client_port}"
data_dir = "{folder}/data"
pid_file = "{folder}/server.pid"

[metrics]
bind_address = "127.0.0.1:{http_port}"

[cluster]
node_id = {id}
name = "node-{id}"
bind_address = "127.0.0.1:{peer_port}"
advertise_address = "127.0.0.1:{peer_port}"
client_advertise_address = "127.0.0.1:{client_port}"
peers = [{peers}]

[snapshots]
destination = "{store}"
"""


@dataclass(slots=True)
class LocalNode:
    """One server process, its addresses and its files."""

    id: int
    folder: Path
    client_port: int
    peer_port: int
    http_port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def client_address(self) -> str:
        """Where applications connect."""
        return f"127.0.0.1:{self.client_port}"

    @property
    def admin_address(self) -> str:
        """Where administrators and the other nodes connect."""
        return f"127.0.0.1:{self.peer_port}"

    @property
    def log(self) -> Path:
        """Everything the process wrote."""
        return self.folder / "server.log"

    def start(self) -> None:
        """Start the process; it says in its log what it does."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [program("amaters-server"), "start", "--config", self.folder / "config.toml"],
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """SIGKILL: the process gets no chance to do anything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, and wait: hands leadership over, drains, flushes. Returns the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        self.process = None
        return code

    async def status(self) -> NodeStatus | None:
        """Ask the node about itself; None while it does not answer."""
        try:
            async with AdminClient.connect(self.admin_address) as admin:
                return await admin.status()
        except AmatersError:
            return None


def program(name: str) -> str:
    """Return the console script of that name beside the running Python."""
    return str(Path(sys.executable).with_name(name))


def create_nodes(root: Path, count: int, *, store: Path) -> list[LocalNode]:
    """Write fresh configuration files for a cluster of that size below the folder."""
    shutil.rmtree(root, ignore_errors=True)
    ports = free_ports(3 * count)
    nodes = [
        LocalNode(number + 1, root / f"node{number + 1}", client, peer, http)
        for number, (client, peer, http) in enumerate(zip(*[iter(ports)] * 3, strict=True))
    ]
    peers = ", ".join(f'"{node.id}:{node.admin_address}"' for node in nodes)
    for node in nodes:
        node.folder.mkdir(parents=True)
        text = CONFIGURATION.format(
            id=node.id,
            folder=node.folder,
            client_port=node.client_port,
            peer_port=node.peer_port,
            http_port=node.http_port,
            peers=peers,
            store=store,
        )
        (node.folder / "config.toml").write_text(text)
    return nodes


async def until_ready(nodes: Sequence[LocalNode], timeout: float = 30.0) -> float:
    """Wait until every node serves; returns how many seconds that took."""
    start = time.monotonic()
    while time.monotonic() - start < timeout:
        seen = [await node.status() for node in nodes]
        if all(status is not None and status.ready for status in seen):
            return time.monotonic() - start
        for node in nodes:
            if node.process is not None and node.process.poll() is not None:
                raise SystemExit(f"node {node.id} stopped by itself: see {node.log}")
        await asyncio.sleep(0.05)
    raise SystemExit(f"not ready after {timeout:.0f} s: see {nodes[0].log} and its neighbours")


async def leader_of(nodes: Sequence[LocalNode], timeout: float = 15.0) -> LocalNode:
    """Find the node that leads; waits for an election that is under way."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        for node in nodes:
            status = await node.status() if node.process is not None else None
            if status is not None and status.is_leader:
                return node
        await asyncio.sleep(0.05)
    raise SystemExit(f"no leader after {timeout:.0f} s: see {nodes[0].log} and its neighbours")


def quiet_environment() -> dict[str, str]:
    """Return the environment for programs whose output a person is going to read."""
    return {**os.environ, "GRPC_VERBOSITY": "ERROR"}
