"""kubectl and helm as a person would run them, and waiting for what they show."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class CommandError(AssertionError):
    """A command failed; its own words are the message."""


@dataclass(frozen=True)
class Kubectl:
    """Runs kubectl in one namespace of one cluster."""

    kubeconfig: str
    namespace: str

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl; CommandError has its words when it fails."""
        return self.run(["kubectl", "--namespace", self.namespace, *arguments], stdin, timeout)

    def helm(self, *arguments: str, binary: str) -> str:
        """Run helm in the same namespace."""
        return self.run([binary, "--namespace", self.namespace, *arguments], None, 120)

    def run(self, command: list[str], stdin: str | None, timeout: float) -> str:
        """Run any command against this cluster and return its output."""
        done = subprocess.run(
            command,
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            timeout=timeout,
            env={**os.environ, "KUBECONFIG": self.kubeconfig},
        )
        if done.returncode:
            raise CommandError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def get(self, kind: str, name: str = "", *arguments: str) -> dict[str, Any]:
        """Read one object, or a list of them."""
        names = [name] if name else []
        found: dict[str, Any] = json.loads(
            self("get", kind, *names, *arguments, "--output", "json")
        )
        return found

    def items(self, kind: str, selector: str) -> list[dict[str, Any]]:
        """Read the objects with these labels."""
        items: list[dict[str, Any]] = self.get(kind, "", "--selector", selector)["items"]
        return items

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply the objects."""
        bundle = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self("apply", "--filename", "-", stdin=json.dumps(bundle))


def eventually(
    what: str,
    condition: Callable[[], Any],
    *,
    within: float,
    explain: Callable[[], str] | None = None,
) -> Any:
    """Return the first true answer of the condition; fail with the last one when time is up."""
    end = time.monotonic() + within
    answer: Any = None
    while time.monotonic() < end:
        try:
            answer = condition()
        except CommandError as error:
            answer = str(error)
        else:
            if answer:
                return answer
        time.sleep(0.5)
    details = f"\n{explain()}" if explain else ""
    raise AssertionError(f"not within {within:.0f} s: {what}; last seen: {answer!r}{details}")
