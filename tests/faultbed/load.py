"""A recording client under way, and what its history says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from amaters_server.testing.history import violations
from testbed.namespaces import inside

from faultbed.calls import Call, parsed
from faultbed.members import Cluster, Member

PACKAGES = Path(__file__).resolve().parents[1]
"""The folder from which `faultbed` is imported."""
STOP_SECONDS = 40.0


@dataclass(slots=True)
class History:
    """What the callers were told so far; complete once the load has ended."""

    file: Path
    begun: float = field(default_factory=time.monotonic)
    _read: int = 0
    _calls: list[Call] = field(default_factory=list)

    def calls(self) -> list[Call]:
        """Return everything written down until now; only what is new is read."""
        with self.file.open("rb") as file:
            file.seek(self._read)
            whole, end, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(end)
        self._calls += parsed(whole.decode().splitlines())
        return self._calls

    def violations(self) -> list[str]:
        """Return every broken promise: lost or doubled writes, stale reads."""
        return [str(one) for one in violations(call.operation() for call in self.calls())]

    def acknowledged(
        self, *, node: Member | None = None, since: float = 0.0, until: float = float("inf")
    ) -> list[Call]:
        """Return the calls made since a moment, and answered with success until another."""
        number = 0 if node is None else node.at.number
        return [
            call
            for call in self.calls()
            if call.acknowledged
            and call.node in ({number} if number else {call.node})
            and call.invoked >= since
            and call.returned <= until
        ]

    def writes(self, *, since: float = 0.0, until: float = float("inf")) -> list[Call]:
        """Return the acknowledged writes between two moments."""
        return [call for call in self.acknowledged(since=since, until=until) if call.write]

    def gap(self, since: float, until: float | None = None) -> float:
        """Return the longest time without any acknowledged write after a moment."""
        end = time.monotonic() if until is None else until
        heard = sorted(call.returned for call in self.acknowledged() if call.write)
        moments = [since, *(one for one in heard if since < one < end), end]
        return max(after - before for before, after in pairwise(moments))

    def latency(self, calls: Sequence[Call], share: float) -> float:
        """Return a quantile of how long the calls took, in seconds."""
        took = sorted(call.returned - call.invoked for call in calls)
        return took[min(int(len(took) * share), len(took) - 1)] if took else float("inf")

    def errors(self, node: Member, since: float = 0.0) -> Counter[str]:
        """Count what callers of one node were told, by the error's code."""
        return Counter(
            call.error.split(" ")[0]
            for call in self.calls()
            if call.node == node.at.number and call.error and call.invoked >= since
        )

    async def until(self, what: str, holds: Callable[[], bool], seconds: float = 20) -> float:
        """Wait for it and return how long that took; fails with its name when it does not come."""
        begun = time.monotonic()
        while not holds():
            assert time.monotonic() < begun + seconds, f"not within {seconds:g} s: {what}"
            await asyncio.sleep(0.05)
        return time.monotonic() - begun

    async def served_again(self, since: float, count: int = 20) -> float:
        """Wait for acknowledged writes that were begun since a moment; how long the first took."""
        await self.until("writes go on", lambda: len(self.writes(since=since)) >= count)
        return min(call.returned for call in self.writes(since=since)) - since

    def summary(self) -> str:
        """Say what happened in one line."""
        calls = self.calls()
        kinds = Counter((call.write, call.outcome) for call in calls)
        return (
            f"{len(calls)} calls in {time.monotonic() - self.begun:.1f} s; writes: "
            f"{kinds[True, 'ok']} acknowledged, {kinds[True, 'failed']} refused, "
            f"{kinds[True, 'unknown']} unknown; reads: {kinds[False, 'ok']} answered, "
            f"{kinds[False, 'failed']} refused"
        )


@asynccontextmanager
async def load(cluster: Cluster, seed: int) -> AsyncIterator[History]:
    """Have callers write and read until the end; then every node is asked for every key.

    All members must be up again at the end. Each load has a collection of its own.
    """
    history = History(cluster.folder / "history.jsonl")
    complaints = cluster.folder / "recorder.log"
    addresses = [member.client for member in cluster.members]
    setting = inside(cluster.lab.hub.namespace, "setpriv", "--pdeathsig", "KILL")
    record = ["-m", "faultbed.recorder", str(history.file), f"load-{uuid.uuid4().hex}", str(seed)]
    command = [*setting, sys.executable, *record, *addresses]
    with complaints.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(PACKAGES)},
        )
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        said = await asyncio.to_thread(process.stdout.readline)
        assert said == b"started\n", complaints.read_text()
        await history.until("the first writes", lambda: len(history.writes()) >= 20)
        yield history
        process.stdin.close()
        code = await asyncio.to_thread(process.wait, STOP_SECONDS)
        print(history.summary())
        assert code == 0, complaints.read_text()[-2000:]
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
