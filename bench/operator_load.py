"""What the operator needs for many clusters: memory, time for a pass, requests to the API server."""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amaters_operator.testing import Driver

from bench.effort import Effort
from bench.operator_world import Worlds, namespaces
from bench.report import Figures, Report

SETTLING_SECONDS = 60.0
_LONGEST_BIRTH_SECONDS = 900.0
AIM_MEBIBYTES, AIM_REQUESTS = 150, 0.1


@dataclass(frozen=True, slots=True)
class _Phase:
    """From when to when, and the requests of it, by right."""

    begin: float
    end: float
    requests: Counter[tuple[str, str, int]]

    @property
    def rate(self) -> float:
        """Requests a second, without those for the Lease."""
        counted = [count for (_, what, _), count in self.requests.items() if "leases" not in what]
        return sum(counted) / (self.end - self.begin)


async def run(effort: Effort, folder: Path, say: Callable[[str], None]) -> Report:
    """Create all clusters at once, wait until they run, and then let them rest."""
    worlds = Worlds({name: Driver() for name in namespaces(effort.clusters)})
    async with worlds.running() as (address, nodes):
        process = await _operator(folder, address, nodes)
        try:
            birth = await _birth(worlds, process, say)
            say(f"{effort.clusters} clusters run after {birth.end - birth.begin:.0f} s")
            await asyncio.sleep(SETTLING_SECONDS)
            rest = await _measured(worlds, effort.rest_seconds)
            resident = _resident(process.pid)
        finally:
            process.terminate()
            output, _ = await process.communicate()
    found = json.loads(output)
    return _report(effort, birth, rest, resident, found)


async def _operator(folder: Path, address: str, nodes: str) -> Process:
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(_pointing_at(address)))
    environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
    command = (sys.executable, "-m", "bench.operator_process", nodes)
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, env=environment)


async def _birth(worlds: Worlds, process: Process, say: Callable[[str], None]) -> _Phase:
    before, began = Counter(worlds.server.requests), time.monotonic()
    worlds.create()
    count = len(worlds.drivers)
    while (ready := worlds.ready()) < count:
        if process.returncode is not None or time.monotonic() - began > _LONGEST_BIRTH_SECONDS:
            raise TimeoutError(f"{ready} of {count} clusters run; the operator: {process}")
        say(f"{ready} of {count} clusters run")
        await asyncio.sleep(5)
    return _Phase(began, time.monotonic(), Counter(worlds.server.requests) - before)


async def _measured(worlds: Worlds, seconds: float) -> _Phase:
    before, began = Counter(worlds.server.requests), time.monotonic()
    await asyncio.sleep(seconds)
    return _Phase(began, time.monotonic(), Counter(worlds.server.requests) - before)


def _report(
    effort: Effort, birth: _Phase, rest: _Phase, resident: float, found: dict[str, object]
) -> Report:
    passes: list[tuple[str, float, float]] = found["passes"]  # type: ignore[assignment]
    memory: dict[str, float] = found["memory"]  # type: ignore[assignment]
    rows = [
        ("memory at rest", f"{resident:.0f} MiB", f"under {AIM_MEBIBYTES} MiB"),
        ("memory at its peak", f"{memory['peak']:.0f} MiB", ""),
        ("all clusters created at once, until all run", f"{birth.end - birth.begin:.0f} s", ""),
        ("requests a second and cluster at rest", f"{rest.rate / effort.clusters:.3f}",
         f"under {AIM_REQUESTS}"),
    ]  # fmt: skip
    for name, phase in (("births", birth), ("rest", rest)):
        taken = sorted(
            took for one, at, took in passes if one == "cluster" and phase.begin < at < phase.end
        )
        shown = f"{_at(taken, 0.5):.0f} and {_at(taken, 0.99):.0f} ms of {len(taken)}"
        rows.append((f"a pass during {name}, p50 and p99", shown, ""))
    spent = {f"{verb} {what} {code}": count for (verb, what, code), count in rest.requests.items()}
    return Report(
        scenario="operator",
        tables=(Figures(f"{effort.clusters} clusters", ("what", "measured", "aim"), tuple(rows)),),
        notes=(f"Requests at rest: {spent}",),
        raw={"rest": spent, "seconds": rest.end - rest.begin, "clusters": effort.clusters},
    )


def _at(taken: list[float], share: float) -> float:
    """Return that percentile in milliseconds."""
    return 1000 * taken[min(int(share * len(taken)), len(taken) - 1)] if taken else 0.0


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(one.split()[1]) for one in lines if one.startswith("VmRSS")) / 1024


def _pointing_at(address: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "clusters": [{"name": "bench", "cluster": {"server": address}}],
        "users": [{"name": "bench", "user": {"token": "none"}}],
    }
