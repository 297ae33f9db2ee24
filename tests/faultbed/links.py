"""What can happen to the links between members. Each fault is over when its context is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from testbed.binaries import TOXIPROXY, ensure, is_fresh
from testbed.namespaces import inside, rule
from testbed.places import places
from testbed.shell import TestbedError, run, wait_until

from faultbed.lab import Lab, within
from faultbed.members import INTERNAL_PORT, Cluster, Member

API_PORT = 8474
FIRST_PORT = 20_000
LATE_MS = 1000


@contextlib.contextmanager
def one_way(source: Sequence[Member], deaf: Sequence[Member]) -> Iterator[float]:
    """Drop all packets from some to others; those back arrive. Yields the moment it holds."""
    with contextlib.ExitStack() as undo:
        for member in deaf:
            text = f"ip saddr {_set(source)} drop"
            undo.enter_context(rule([member.at.namespace], text))
        yield time.monotonic()


@contextlib.contextmanager
def parted(some: Sequence[Member], others: Sequence[Member]) -> Iterator[float]:
    """Drop all packets between the two sides; clients still reach both. Yields its beginning."""
    with one_way(some, others), one_way(others, some):
        yield time.monotonic()


@contextlib.contextmanager
def narrow(lab: Lab, member: Member, kilobits: int) -> Iterator[float]:
    """Let only so many kilobits a second through a member's cable, each way: a bad line."""
    ends = ((member.at.namespace, "eth0"), (lab.hub.namespace, member.at.port))
    shape = ("tbf", "rate", f"{kilobits}kbit", "burst", "4kb", "latency", "300ms")
    with contextlib.ExitStack() as undo:
        for namespace, device in ends:
            tc = inside(namespace, "tc", "qdisc")
            run(*tc, "add", "dev", device, "root", *shape)
            undo.callback(run, *tc, "del", "dev", device, "root")
        yield time.monotonic()


@dataclass(frozen=True, slots=True)
class Toxic:
    """One thing that a proxy does to a connection."""

    kind: str
    attributes: dict[str, int] = field(default_factory=dict)
    stream: str = "upstream"


@dataclass(slots=True)
class Proxies:
    """A proxy on every link between members, in both directions; the members know nothing of it."""

    lab: Lab

    def poison(self, source: Member, target: Member, *toxics: Toxic) -> None:
        """Spoil the connections that one member opens to another."""
        for number, toxic in enumerate(toxics):
            self._post(
                f"/proxies/{_name(source, target)}/toxics",
                {
                    "name": f"{toxic.kind}-{toxic.stream}-{number}",
                    "type": toxic.kind,
                    "stream": toxic.stream,
                    "attributes": toxic.attributes,
                },
            )

    def cure(self) -> None:
        """Take all toxics away."""
        self._post("/reset", {})

    def answers(self) -> bool:
        """Whether the proxies' program is up."""
        try:
            within(self.lab.hub.namespace, lambda: self._ask("GET", "/version", None))
        except OSError:
            return False
        return True

    def add(self, source: Member, target: Member, port: int) -> None:
        """Make the proxy of one direction."""
        self._post(
            "/proxies",
            {
                "name": _name(source, target),
                "listen": f"{self.lab.address}:{port}",
                "upstream": target.internal,
                "enabled": True,
            },
        )

    def _post(self, path: str, body: dict[str, object]) -> None:
        within(self.lab.hub.namespace, lambda: self._ask("POST", path, body))

    def _ask(self, method: str, path: str, body: dict[str, object] | None) -> None:
        data = None if body is None else json.dumps(body).encode()
        url = f"http://{self.lab.address}:{API_PORT}{path}"
        request = urllib.request.Request(url, data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5):
                pass
        except urllib.error.HTTPError as error:
            with error:
                raise TestbedError(f"{method} {path}: {error.read().decode()[:300]}") from error


def toxiproxy_lacking() -> str:
    """Say why there is no toxiproxy and none can be built; empty when there is."""
    try:
        ensure(places(), [TOXIPROXY], say=print)
    except TestbedError as why:
        return f"toxiproxy is not there: {why}"
    return "" if is_fresh(TOXIPROXY, places()) else "toxiproxy was not built"


@contextlib.contextmanager
def proxied(lab: Lab, members: Sequence[Member]) -> Iterator[Proxies]:
    """Lead every connection between the members through a proxy on the hub.

    Members are started inside this context: connections made earlier go on as they were.
    """
    proxies = Proxies(lab)
    command = inside(lab.hub.namespace, "setpriv", "--pdeathsig", "KILL")
    program = str(places().bin / "toxiproxy-server")
    listening = ("-host", lab.address, "-port", str(API_PORT))
    process = subprocess.Popen(
        [*command, program, *listening], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(proxies.answers, "answer of toxiproxy", seconds=10)
        with contextlib.ExitStack() as undo:
            pairs = [(a, b) for a in members for b in members if a is not b]
            for port, (source, target) in enumerate(pairs, FIRST_PORT):
                proxies.add(source, target, port)
                undo.enter_context(_led_astray(lab, source, target, port))
            yield proxies
    finally:
        process.kill()
        process.wait()


async def late_messages(cluster: Cluster, proxies: Proxies) -> None:
    """Have what each follower sends arrive late for a while, in turn.

    It is later than a client waits: writes that were given to the follower are repeated elsewhere
    and acknowledged before the first attempt reaches the leader.
    """
    leader = await cluster.leader()
    for follower in cluster.without(leader) * 2:
        for other in cluster.without(follower):
            proxies.poison(follower, other, Toxic("latency", {"latency": LATE_MS}))
        await asyncio.sleep(1.5 * LATE_MS / 1000)
        proxies.cure()


@contextlib.contextmanager
def _led_astray(lab: Lab, source: Member, target: Member, port: int) -> Iterator[None]:
    where = f"ip daddr {target.at.address} tcp dport {INTERNAL_PORT}"
    text = f"{where} dnat ip to {lab.address}:{port}"
    hook = "type nat hook output priority -100"
    with rule([source.at.namespace], text, hook=hook):
        yield


def _name(source: Member, target: Member) -> str:
    return f"{source.at.number}-{target.at.number}"


def _set(members: Sequence[Member]) -> str:
    return "{ " + ", ".join(member.at.address for member in members) + " }"
