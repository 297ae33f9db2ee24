"""Programs under measurement: started, watched, killed, and charged for their processor time."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
POLL_SECONDS = 0.02


class ProgramError(Exception):
    """A program ended, or did not become ready; the end of its log is in the message."""


def mortal() -> list[str]:
    """Return what a command must begin with, so that it never outlives this process."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


class Program:
    """One child process with a log of its own. It can be started again after it has ended."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = [str(part) for part in command]
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id; an error when it was never started."""
        if self._process is None:
            raise ProgramError(f"{self.name} was not started")
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs now."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; its output is appended to its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*mortal(), *self._command],
                env=self._environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """End it at once, as a power cut would, and wait until it is gone."""
        if self._process is not None and self.alive:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def terminate(self) -> None:
        """Ask it to stop, without waiting."""
        if self._process is not None and self.alive:
            self._process.send_signal(signal.SIGTERM)

    async def gone(self, seconds: float = 30.0) -> None:
        """Wait until it has ended by itself; it is killed when that takes too long."""
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                self.kill()
                raise ProgramError(f"{self.name} was still running after {seconds:g} s")
            await asyncio.sleep(POLL_SECONDS)

    def cpu_seconds(self) -> float:
        """Return the processor time it has used so far, in user and kernel mode."""
        if not self.alive:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def resident_bytes(self) -> int:
        """Return how much memory it holds now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def last_words(self) -> str:
        """Return the end of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-20:])

    def require_alive(self) -> None:
        """Raise, with its last words, when it has ended."""
        if not self.alive:
            raise ProgramError(f"{self.name} ended:\n{self.last_words()}")


async def until(
    holds: Callable[[], Awaitable[bool]],
    what: str,
    programs: Sequence[Program] = (),
    seconds: float = 30.0,
) -> None:
    """Wait until the question is answered with yes, while all the programs keep running."""
    deadline = time.monotonic() + seconds
    while not await holds():
        for program in programs:
            program.require_alive()
        if time.monotonic() > deadline:
            logs = "\n".join(f"--- {one.name}\n{one.last_words()}" for one in programs)
            raise ProgramError(f"no {what} after {seconds:g} s\n{logs}")
        await asyncio.sleep(POLL_SECONDS)
