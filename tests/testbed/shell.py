"""Run programs and wait for what they bring about. Knows nothing of Kubernetes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class TestbedError(Exception):
    """The test bed could not do what was asked; the message says what to do."""

    __test__ = False  # its name begins like a test; pytest must not collect it


class CommandFailedError(TestbedError):
    """A program ended with an error; its last words are in the message."""

    def __init__(self, command: Sequence[str], code: int, output: str) -> None:
        self.command, self.code, self.output = list(command), code, output
        last = "\n".join(output.strip().splitlines()[-20:])
        super().__init__(f"{' '.join(map(str, command))} ended with {code}:\n{last}")


def run(
    *command: str | Path,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> str:
    """Run the command to its end and return its standard output; raise if it fails."""
    arguments = [str(part) for part in command]
    done = subprocess.run(
        arguments,
        input=stdin,
        env=env,
        cwd=cwd,
        timeout=timeout,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise CommandFailedError(arguments, done.returncode, done.stdout + done.stderr)
    return done.stdout.strip()


def attempt(*command: str | Path) -> bool:
    """Run the command for its effect; say whether it succeeded."""
    try:
        run(*command, timeout=60)
    except (CommandFailedError, subprocess.TimeoutExpired, FileNotFoundError):
        return False
    return True


def wait_until(
    condition: Callable[[], bool], what: str, *, seconds: float = 60, hint: str = ""
) -> None:
    """Return as soon as the condition holds; raise when the deadline passes first."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TestbedError(f"no {what} after {seconds:g} s" + (f": {hint}" if hint else ""))
        time.sleep(0.1)
