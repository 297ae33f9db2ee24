"""Whole tables through files: import, export and diff by `amaters-cli`, as a person runs them.

Each is a process of its own, which reports its peak of resident memory as the kernel counted it.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from bench.effort import Effort
from bench.nodes import AmatersNodes
from bench.report import Figures, Report

VALUE_BYTES = 100
ROWS = 1_000_000
"""Whatever the effort: memory that grows with the rows would not show in fewer."""
_PROGRAM = """
import os, pathlib, sys
from amaters.cli.entry import main
try:
    main()
finally:
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    peak = next(one for one in lines if one.startswith("VmHWM:"))
    os.write(int(os.environ["BENCH_PEAK"]), peak.encode())
"""
"""What waits for a child knows its peak only together with that of the process that made it."""


class TableError(Exception):
    """A command failed, or did not do what it says."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one command took."""

    seconds: float
    processor_seconds: float
    peak_megabytes: float
    said: dict[str, object]


async def run(_effort: Effort, folder: Path, say: Callable[[str], None]) -> Report:
    """Import a file of a million rows into one node, export it, and compare both."""
    node = AmatersNodes(folder, 1)
    source = folder / "rows.ndjson"
    folder.mkdir(parents=True, exist_ok=True)
    say(f"writing a file of {ROWS:,} rows with {VALUE_BYTES} bytes each")
    await asyncio.to_thread(_write, source)
    rows: list[tuple[str, ...]] = []
    raw: dict[str, object] = {}
    try:
        await node.start()
        server = (await node.leader()).client
        for name, arguments in _commands(source, folder, server):
            say(name)
            found = await asyncio.to_thread(_run, server, arguments)
            raw[name] = {"seconds": found.seconds, "peak_megabytes": found.peak_megabytes}
            speed = f"{ROWS / found.seconds:,.0f}"
            figures = (found.seconds, found.processor_seconds, found.peak_megabytes)
            rows.append((name, speed, *(f"{one:,.1f}" for one in figures)))
    finally:
        node.stop()
    return Report(
        scenario="tables",
        tables=(
            Figures(
                f"Files of {ROWS:,} rows, values of {VALUE_BYTES} bytes",
                ("what", "rows/s", "seconds", "processor s", "peak MiB"),
                tuple(rows),
            ),
        ),
        notes=("of the amaters-cli process, its start included; the node is on the same machine",),
        raw=raw,
    )


def _commands(source: Path, folder: Path, server: str) -> Sequence[tuple[str, Sequence[str]]]:
    out, table = folder / "out.ndjson", folder / "out.csv"
    return (
        ("import ndjson", ("import", str(source))),
        ("export ndjson", ("export", str(out))),
        ("export csv", ("export", str(table))),
        ("diff file, cluster", ("diff", str(out), server, "--diff-format", "stats", "--exit-code")),
        ("diff file, file", ("diff", str(out), str(table), "--exit-code")),
    )


def _write(source: Path) -> None:
    with source.open("w") as file:
        for number in range(ROWS):
            value = f"{number:0{VALUE_BYTES}}"
            file.write(f'{{"key":"row:{number:09}","value":"{value}"}}\n')


def _run(server: str, arguments: Sequence[str]) -> Run:
    """Run a command to its end; TableError when it fails."""
    command = [sys.executable, "-c", _PROGRAM, "-s", server, "-c", "bench", "-f", "json"]
    with TemporaryFile() as output, TemporaryFile() as peak:
        os.set_inheritable(peak.fileno(), True)
        begun = time.monotonic()
        pid = os.posix_spawn(
            command[0],
            [*command, *arguments],
            {**os.environ, "BENCH_PEAK": str(peak.fileno())},
            file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), 1)],
        )
        _, status, usage = os.wait4(pid, 0)
        seconds = time.monotonic() - begun
        output.seek(0)
        peak.seek(0)
        text, kilobytes = output.read(), int((peak.read().split() or [b"", b"0"])[1])
    if status:
        raise TableError(f"{' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}")
    said = json.loads(text) if text.startswith(b"{") else {}
    if said.get("rows", ROWS) != ROWS:
        raise TableError(f"{' '.join(arguments)} reports {said['rows']} rows")
    return Run(seconds, usage.ru_utime + usage.ru_stime, kilobytes / 1024, said)
