"""How long to wait before a retry: one rule for client, server and operator.

Pure: knows counts, never the clock.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double from the first to the longest, in seconds."""

    first: float
    longest: float
    jitter: float = 0.0
    """The share of a pause that is left to chance: none by default, all of it with 1."""

    def pause(self, failures: int, draw: Callable[[], float] = random.random) -> float:
        """Return seconds to wait after that many failures in a row.

        `draw` returns a number in [0, 1).
        """
        whole = min(self.first * (1 << min(failures - 1, _MOST_DOUBLINGS)), self.longest)
        return whole * (1 - self.jitter + self.jitter * draw()) if self.jitter else whole
