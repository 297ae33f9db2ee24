"""A virtual world: time that jumps from event to event, chance from one seed, a bad network.

The time is the world's own: no member sees it, they have clocks (`clock`) that may be wrong.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

Event = Callable[[], None]


class World:
    """The clock and the only source of chance; the same seed gives the same world."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)  # noqa: S311 - chance that can be repeated is the point
        self.time = 0.0
        self._events: list[tuple[float, int, Event]] = []
        self._count = 0

    def now(self) -> float:
        """Return the virtual seconds since the beginning."""
        return self.time

    def later(self, seconds: float, event: Event) -> None:
        """Have something happen after that time; ties happen in the order they were asked for."""
        self._count += 1
        heapq.heappush(self._events, (self.time + seconds, self._count, event))

    def run(self, until: float) -> None:
        """Let everything happen that is due before that time."""
        events = self._events
        while events and events[0][0] <= until:
            self.time, _, event = heapq.heappop(events)
            event()
        self.time = until


@dataclass(slots=True)
class Weather:
    """How bad the network is."""

    drop: float = 0.0
    duplicate: float = 0.0
    slow: float = 0.0
    """Share of messages that take long enough to be overtaken by many others."""
    delay: tuple[float, float] = (0.0002, 0.002)
    slow_delay: tuple[float, float] = (0.02, 0.4)


@dataclass(slots=True)
class Network:
    """Carries messages between nodes, badly."""

    world: World
    weather: Weather = field(default_factory=Weather)
    blocked: set[tuple[int, int]] = field(default_factory=set)
    """(from, to) pairs that carry nothing; one direction at a time."""
    repairs: int = 0
    """How often something that was blocked was let through again."""

    def carry(self, sender: int, to: int, deliver: Event) -> None:
        """Have the message delivered some time, or never, or twice."""
        rng, weather = self.world.rng, self.weather
        if (sender, to) in self.blocked or rng.random() < weather.drop:
            return
        copies = 2 if rng.random() < weather.duplicate else 1
        for _ in range(copies):
            bounds = weather.slow_delay if rng.random() < weather.slow else weather.delay
            self.world.later(rng.uniform(*bounds), lambda: self._arrive(sender, to, deliver))

    def _arrive(self, sender: int, to: int, deliver: Event) -> None:
        if (sender, to) not in self.blocked:
            deliver()

    def connects(self, one: int, other: int) -> bool:
        """Return whether two nodes reach each other, both ways."""
        return (one, other) not in self.blocked and (other, one) not in self.blocked

    def isolate(self, node: int, others: list[int], *, inbound: bool, outbound: bool) -> None:
        """Cut one node off, in one direction or both."""
        for other in others:
            if inbound:
                self.blocked.add((other, node))
            if outbound:
                self.blocked.add((node, other))

    def split(self, some: list[int], others: list[int]) -> None:
        """Let nothing pass between two groups."""
        for one in some:
            self.isolate(one, others, inbound=True, outbound=True)

    def reconnect(self) -> None:
        """Let everything through again."""
        self.blocked.clear()
        self.repairs += 1
