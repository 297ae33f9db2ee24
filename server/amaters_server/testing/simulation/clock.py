"""The clocks of one simulated machine: they run fast or slow, leap, and agree with nobody's."""

from amaters_server.testing.simulation.world import World

ORDINARY_RATES = (0.85, 1.2)
"""How many of its own seconds a clock counts in one of the world's."""
_WALL_START_MS = 1_700_000_000_000


class SimClock:
    """One machine's monotonic clock, which only goes forward, and its wall clock, which need not."""

    def __init__(self, world: World, *, rate: float, reading: float = 0.0) -> None:
        self._world = world
        self._rate = rate
        self._since = world.time
        self._reading = reading
        self._wall_off_ms = 0

    def now(self) -> float:
        """Return monotonic seconds; they mean nothing to any other machine."""
        return self._reading + (self._world.time - self._since) * self._rate

    def unix_ms(self) -> int:
        """Return the wall clock, right or wrong."""
        return _WALL_START_MS + int(self._world.time * 1000) + self._wall_off_ms

    def true_seconds(self, seconds: float) -> float:
        """Return how long the world takes for that many seconds of this clock."""
        return seconds / self._rate

    def run_at(self, rate: float) -> None:
        """Run at that many of its seconds in one of the world's, from now on."""
        self._reading, self._since, self._rate = self.now(), self._world.time, rate

    def leap(self, seconds: float) -> None:
        """Leap forward, as after a machine was suspended."""
        self._reading += seconds

    def set_wall(self, off_ms: int) -> None:
        """Set the wall clock to be that much ahead of (or behind) the truth."""
        self._wall_off_ms = off_ms
