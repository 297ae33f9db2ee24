"""The servers that are measured side by side: what each needs to run, and where it listens."""

import sys
import urllib.error
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import grpc.aio
from amaters_server.testing.ports import free_ports

from bench import dialects, places
from bench.dialects import Dialect
from bench.processes import Program, until


class Target(Protocol):
    """A running service of one or more processes."""

    @property
    def name(self) -> str:
        """How tables name it."""

    @property
    def dialect(self) -> Dialect:
        """What it speaks."""

    @property
    def programs(self) -> Sequence[Program]:
        """Its processes, one for each member."""

    async def start(self) -> None:
        """Start all its processes; returns when every one of them answers."""

    async def addresses(self) -> tuple[str, ...]:
        """Return where clients reach it, the leader first."""

    def stop(self) -> None:
        """End all its processes at once."""


def cpu_seconds(target: Target) -> float:
    """Return the processor time that all its processes have used so far."""
    return sum(program.cpu_seconds() for program in target.programs)


class BareGrpcio:
    """One grpcio.aio server that keeps a dict: what Python can do without a batching transport."""

    name = "bare grpcio.aio, in memory"
    dialect: Dialect = dialects.AQL

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1)
        self._address = f"127.0.0.1:{port}"
        command = [sys.executable, "-m", "bench.bare_grpcio", str(port)]
        environment = {"PYTHONPATH": f"{places.ROOT}:{places.ROOT / 'client'}"}
        self.programs = (Program("bare", command, folder / "bare" / "log", environment),)

    async def start(self) -> None:
        """Start it and wait until it listens."""
        self.programs[0].start()
        await until(lambda: listens(self._address), "bare grpcio server", self.programs)

    async def addresses(self) -> tuple[str, ...]:
        """Return its one address."""
        return (self._address,)

    def stop(self) -> None:
        """End it."""
        self.programs[0].kill()


class EtcdMembers:
    """etcd with its defaults, as a cluster of this many members on loopback."""

    dialect: Dialect = dialects.ETCD

    def __init__(self, folder: Path, program: Path, size: int = 3) -> None:
        self.name = f"{places.version_of(program)}, {size} members"
        # Two versions may be measured side by side: neither may find the other's data.
        own = folder / self.name.replace(", ", "-").replace(" ", "-")
        ports = free_ports(2 * size)
        clients, peers = ports[:size], ports[size:]
        self._addresses = [f"127.0.0.1:{port}" for port in clients]
        cluster = ",".join(f"m{at}=http://127.0.0.1:{port}" for at, port in enumerate(peers))
        self.programs = [
            Program(
                f"etcd {at}",
                [
                    *(program, "--name", f"m{at}", "--data-dir", own / f"{at}" / "data"),
                    *("--listen-client-urls", f"http://{self._addresses[at]}"),
                    *("--advertise-client-urls", f"http://{self._addresses[at]}"),
                    *("--listen-peer-urls", f"http://127.0.0.1:{peer}"),
                    *("--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"),
                    *("--initial-cluster", cluster, "--log-level", "warn"),
                    # Its default of 2 GB would end a long run with "database space exceeded".
                    *("--quota-backend-bytes", str(8 << 30)),
                ],
                own / f"{at}" / "log",
            )
            for at, peer in enumerate(peers)
        ]

    @property
    def all_addresses(self) -> Sequence[str]:
        """The members' client addresses in a fixed order."""
        return self._addresses

    def program_at(self, address: str) -> Program:
        """Return the process of the member that clients reach there."""
        return self.programs[self._addresses.index(address)]

    async def start(self) -> None:
        """Start every member that does not run and wait until all know the leader."""
        for program in self.programs:
            if not program.alive:
                program.start()
        await until(self._formed, "etcd cluster", self.programs)

    async def addresses(self) -> tuple[str, ...]:
        """Return the members' addresses, the leader's first."""
        return tuple(sorted(self._addresses, key=lambda one: not self._leads(one)))

    def stop(self) -> None:
        """End all members."""
        for program in self.programs:
            program.kill()

    async def _formed(self) -> bool:
        try:
            found = [dialects.etcd_status(address) for address in self._addresses]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        named = {one.leader for one in found}
        return len(named) == 1 and "" not in named

    def _leads(self, address: str) -> bool:
        found = dialects.etcd_status(address)
        return found.leader == found.member


async def listens(address: str) -> bool:
    """Whether a gRPC server accepts connections there."""
    async with grpc.aio.insecure_channel(address) as channel:
        state = channel.get_state(try_to_connect=True)
        while state not in {grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.SHUTDOWN}:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                return False
            await channel.wait_for_state_change(state)
            state = channel.get_state(try_to_connect=True)
        return state is grpc.ChannelConnectivity.READY
