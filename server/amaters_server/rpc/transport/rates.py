"""How many calls a second are taken: of all clients together, and of each address.

Token buckets that hold one second's worth. The adaptive rate follows the published middleware: of
each 100 answers, more than 10 % server errors reduce it to 0.8, fewer raise it by 1.05 up to the
configured one.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaters_server.model.errors import DatabaseError, RateLimitedError
from amaters_server.rpc.transport.calls import Call
from amaters_server.telemetry.counters import CallCounters

WINDOW_ANSWERS = 100
MOST_FAILURES = 0.1
REDUCTION, RECOVERY = 0.8, 1.05
LEAST_SHARE = 0.01
"""The adaptive rate stays above this part of the configured one, so that it can recover."""
MOST_CLIENTS = 4096
"""Addresses that are remembered; of more, the one that has called least recently is forgotten."""


@dataclass(frozen=True, slots=True)
class RateSettings:
    """Calls a second; 0 is no limit."""

    of_all: int = 0
    of_one_client: int = 0
    adaptive: bool = False
    """Whether `of_all` falls while many answers are server errors."""


class TokenBucket:
    """So many calls a second, with a burst of one second's worth."""

    __slots__ = ("_at", "_tokens", "per_second")

    def __init__(self, per_second: float, now: float) -> None:
        self.per_second = per_second
        self._tokens = max(per_second, 1.0)
        self._at = now

    def take(self, wanted: int, now: float) -> int:
        """Return how many of the wanted calls may go on now."""
        most = max(self.per_second, 1.0)
        self._tokens = min(most, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        taken = min(wanted, int(self._tokens))
        self._tokens -= taken
        return taken

    def milliseconds_until(self, count: int) -> int:
        """Return how long it takes until so many calls may go on, counted from the last `take`."""
        return max(1, math.ceil((count - self._tokens) / self.per_second * 1000))


class AdaptiveRate:
    """A rate that falls while the server fails, and recovers."""

    def __init__(self, configured: float) -> None:
        self.configured = configured
        self.current = configured
        self._answers = self._failures = 0

    def observe(self, answers: int, failures: int) -> bool:
        """Take in so many answers, of which some were server errors; True: `current` changed."""
        self._answers += answers
        self._failures += failures
        if self._answers < WINDOW_ANSWERS:
            return False
        failing = self._failures > MOST_FAILURES * self._answers
        self._answers = self._failures = 0
        before = self.current
        if failing:
            self.current = max(self.current * REDUCTION, self.configured * LEAST_SHARE)
        else:
            self.current = min(self.current * RECOVERY, self.configured)
        return self.current != before


Refused = tuple[Call, DatabaseError]


class RequestRates:
    """Takes calls or turns them away. Belongs to the event loop; without limits it costs nothing."""

    def __init__(
        self, settings: RateSettings, counters: CallCounters, now: Callable[[], float]
    ) -> None:
        self.address_of: Callable[[int], str] = str
        """Returns the IP address at the other end of a connection, by the connection's id."""
        self._counters = counters
        self._now = now
        self.apply(settings)

    def apply(self, settings: RateSettings) -> None:
        """Use other limits from now on; buckets begin full."""
        self.settings = settings
        self._of_all = None
        if settings.of_all:
            self._of_all = TokenBucket(settings.of_all, self._now())
        self._adaptive = AdaptiveRate(settings.of_all) if settings.adaptive else None
        self._observed = self._totals()
        self._clients: OrderedDict[str, TokenBucket] = OrderedDict()

    @property
    def current(self) -> float:
        """The calls a second that are taken of all clients now; 0: no limit."""
        return 0.0 if self._of_all is None else self._of_all.per_second

    def admit(self, calls: Sequence[Call]) -> tuple[Sequence[Call], list[Refused]]:
        """Return the calls that go on, in their order, and the others with their errors."""
        refused: list[Refused] = []
        if self.settings.of_one_client:
            calls = self._of_clients(calls, refused)
        if self._of_all is not None:
            calls = self._of_everyone(calls, self._of_all, refused)
        return calls, refused

    def _of_everyone(
        self, calls: Sequence[Call], bucket: TokenBucket, refused: list[Refused]
    ) -> Sequence[Call]:
        self._adapt(bucket)
        taken = bucket.take(len(calls), self._now())
        if taken == len(calls):
            return calls
        turned_away = calls[taken:]
        error = RateLimitedError(
            milliseconds=bucket.milliseconds_until(len(turned_away)),
            per_second=bucket.per_second,
        )
        refused += [(call, error) for call in turned_away]
        self._counters.turned_away["rate"] += len(turned_away)
        return calls[:taken]

    def _of_clients(self, calls: Sequence[Call], refused: list[Refused]) -> list[Call]:
        now = self._now()
        by_address: dict[str, list[Call]] = {}
        for call in calls:
            by_address.setdefault(self.address_of(call[5]), []).append(call)
        admitted: list[Call] = []
        for address, own in by_address.items():
            bucket = self._bucket(address, now)
            taken = bucket.take(len(own), now)
            admitted += own[:taken]
            if taken < len(own):
                error = RateLimitedError(
                    milliseconds=bucket.milliseconds_until(len(own) - taken),
                    per_second=bucket.per_second,
                    client=address,
                )
                refused += [(call, error) for call in own[taken:]]
                self._counters.turned_away["client_rate"] += len(own) - taken
        return admitted

    def _bucket(self, address: str, now: float) -> TokenBucket:
        bucket = self._clients.get(address)
        if bucket is None:
            bucket = self._clients[address] = TokenBucket(self.settings.of_one_client, now)
            if len(self._clients) > MOST_CLIENTS:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(address)
        return bucket

    def _adapt(self, bucket: TokenBucket) -> None:
        adaptive = self._adaptive
        if adaptive is None:
            return
        answers, failures = self._totals()
        before = self._observed
        if answers - before[0] < WINDOW_ANSWERS:
            return
        self._observed = answers, failures
        if adaptive.observe(answers - before[0], failures - before[1]):
            bucket.per_second = adaptive.current

    def _totals(self) -> tuple[int, int]:
        return self._counters.answered, self._counters.faults
