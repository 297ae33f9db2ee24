"""Crashes on demand: the operator is killed before or after its n-th change."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class Killed(BaseException):
    """The operator's process is gone. No `except Exception` may notice it."""


@dataclass(slots=True)
class CrashPoints:
    """Counts changes and kills at the chosen one."""

    at: int = 0
    """Which change, from 1; 0 for none."""
    named: str = ""
    """Or the next change that is called so."""
    after: bool = False
    """Kill after the change took effect, and before the operator knows it."""
    changes: list[str] = field(default_factory=list)
    """What was changed so far."""

    @contextmanager
    def change(self, what: str) -> Iterator[None]:
        """Let a change happen, or not."""
        self.changes.append(what)
        struck = len(self.changes) == self.at or what == self.named
        if struck:
            self.at, self.named = 0, ""
        if struck and not self.after:
            raise Killed(what)
        yield
        if struck:
            raise Killed(what)
