"""The servers on the hosts of a lab: real processes, watched from outside."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from amaters_server.testing.processes import NotUpError, ServerProcess, kill_all, start_all
from testbed.namespaces import inside
from typing_extensions import override

from faultbed.lab import Host, Lab, within

CLIENT_PORT, INTERNAL_PORT, HTTP_PORT = 7878, 7879, 9090
POLL_SECONDS = 0.05
MUTANT = Path(__file__).with_name("mutant.py")


@dataclass
class Member(ServerProcess):
    """One server on one host. It dies with the test run, however that ends."""

    at: Host = field(default=Host(1))

    @override
    def page(self, path: str) -> tuple[int, str]:
        """Fetch a page from beside the server: no fault of the network is in the way."""
        return within(self.at.namespace, lambda: super(Member, self).page(path))

    def gauge(self, name: str) -> float:
        """Return one of its cluster metrics; NaN when it does not answer."""
        for line in self.page("/metrics")[1].splitlines():
            if line.startswith(f"amaters_cluster_{name} "):
                return float(line.split()[-1])
        return float("nan")

    @property
    def leads(self) -> bool:
        """Whether it believes that it leads."""
        return self.gauge("is_leader") == 1

    @contextlib.contextmanager
    def frozen(self) -> Iterator[float]:
        """Stop it between two instructions; its sockets stay open and silent. Yields since when."""
        self.signal(signal.SIGSTOP)
        try:
            yield time.monotonic()
        finally:
            self.signal(signal.SIGCONT)


@dataclass(slots=True)
class Cluster:
    """Some servers that form a cluster, and the network they live in."""

    lab: Lab
    folder: Path
    members: list[Member]

    async def leader(self, among: Sequence[Member] | None = None, seconds: float = 20) -> Member:
        """Return the one that leads, once exactly one of those asked does and all of them know it."""
        asked = self.members if among is None else among
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            leading = [member for member in asked if await asyncio.to_thread(_leads, member)]
            if len(leading) == 1:
                return leading[0]
            await asyncio.sleep(POLL_SECONDS)
        raise NotUpError(f"no single leader among {[one.folder.name for one in asked]}")

    def without(self, *some: Member) -> list[Member]:
        """Return the other members."""
        return [member for member in self.members if member not in some]

    async def ready(self, seconds: float = 30) -> None:
        """Wait until all of them serve."""
        await asyncio.gather(*(member.ready(seconds) for member in self.members))

    async def level(self, seconds: float = 20) -> float:
        """Wait until all have applied what the leader has by now; how long that took."""
        begun = time.monotonic()
        wanted = (await self.leader()).gauge("commit_index")
        while min(member.gauge("applied_index") for member in self.members) < wanted:
            if time.monotonic() > begun + seconds:
                raise NotUpError(f"some member lags behind index {wanted:.0f}")
            await asyncio.sleep(POLL_SECONDS)
        return time.monotonic() - begun

    async def start(self) -> None:
        """Start all and wait until they serve."""
        await start_all(list(self.members))

    def kill(self) -> None:
        """End whatever still runs."""
        for member in self.members:
            if member.is_up():
                member.signal(signal.SIGCONT)
        kill_all(list(self.members))


def create(
    lab: Lab, folder: Path, *, data: Sequence[Path] | None = None, mutation: str = ""
) -> Cluster:
    """Return a cluster of one server on each host, not started.

    `data` says where their data lies; `mutation` makes all of them break that promise.
    """
    peers = [f"{host.number}:{host.address}:{INTERNAL_PORT}" for host in lab.hosts]
    members = []
    for n, host in enumerate(lab.hosts):
        settings: dict[str, dict[str, object]] = {
            "cluster": {"enabled": True, "node_id": host.number, "peers": peers}
        }
        if data is not None:
            settings["server"] = {"data_dir": str(data[n] / "data")}
        members.append(member_at(host, folder / f"node-{host.number}", settings))
        if mutation:
            members[-1].program = (sys.executable, str(MUTANT), mutation)
    return Cluster(lab, folder, members)


def member_at(host: Host, folder: Path, settings: dict[str, dict[str, object]]) -> Member:
    """Return a server on that host, not started."""
    listening = {"bind_address": f"{host.address}:{INTERNAL_PORT}"}
    settings = {**settings, "cluster": {**listening, **settings.get("cluster", {})}}
    # nsenter and setpriv become the server: its process id is the one that was started.
    launcher = inside(host.namespace, "setpriv", "--pdeathsig", "KILL")
    return Member(
        folder,
        settings,
        CLIENT_PORT,
        INTERNAL_PORT,
        HTTP_PORT,
        host=host.address,
        launcher=tuple(launcher),
        at=host,
    )


def _leads(member: Member) -> bool:
    return member.leads
