"""Where the benchmarks find their programs and keep what they write."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
RESULTS = ROOT / "bench" / "results"
GHZ_MODULE = ROOT / "tests" / "testbed" / "tools" / "ghz"
"""The test bed's pins: one version of ghz for the whole checkout."""


class MissingProgramError(Exception):
    """A program the benchmarks need is not there; the message says how to get it."""


def ghz() -> Path:
    """Return the load generator, built from its pinned module when it is not built yet."""
    built = (CACHE / "testbed" / "bin" / "ghz", CACHE / "tools" / "ghz")
    for found in built:
        if found.exists():
            return found
    if shutil.which("go") is None:
        raise MissingProgramError("ghz is built with Go: install Go 1.25 or newer, then run again")
    target = built[-1].parent
    target.mkdir(parents=True, exist_ok=True)
    build = ["go", "build", "-mod=readonly", "-trimpath", "-ldflags", "-s -w", "-o", f"{target}/"]
    subprocess.run([*build, "tool"], cwd=GHZ_MODULE, check=True)
    return built[-1]


def etcd() -> tuple[Path, ...]:
    """Return every etcd there is, Debian's first: the first one is the yardstick."""
    installed = shutil.which("etcd")
    built = CACHE / "testbed" / "bin" / "etcd"
    found = [Path(installed)] if installed else []
    return (*found, built) if built.exists() else tuple(found)


def version_of(etcd: Path) -> str:
    """Return the program's name and version, as `etcd 3.4.23`."""
    answer = subprocess.run([etcd, "--version"], capture_output=True, text=True, check=True)
    return answer.stdout.partition("\n")[0].replace(" Version:", "").strip()


def server() -> list[str]:
    """Return the command of our own server: as installed, else as found on Python's path."""
    installed = Path(sys.executable).with_name("amaters-server")
    if installed.exists():
        return [str(installed)]
    return [sys.executable, "-c", "from amaters_server.app.cli import main; main()"]


@contextmanager
def scratch(*, keep: bool = False) -> Iterator[Path]:
    """Give a fresh folder on the checkout's own disk, and take it away again.

    Not the system's temporary folder: that may be memory, and memory needs no fsync.
    """
    folder = CACHE / "bench" / f"run-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
