"""Clients of a simulated cluster: each does one thing after the other, and writes down what it saw."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from amaters_server.model.errors import DatabaseError, OutcomeUnknownError
from amaters_server.model.keys import DataKey, data_key
from amaters_server.model.queries import Answer, Answers, Get, Put, Read, Write
from amaters_server.testing.history import Operation, Outcome
from amaters_server.testing.simulation.node import SimNode
from amaters_server.testing.simulation.place import SimPlace

KEYS = tuple(data_key("c", name) for name in (b"a", b"b", b"c"))
PATIENCE_SECONDS = 1.0
SLACK_SECONDS = 0.2


@dataclass(slots=True)
class _Call:
    """One call under way."""

    key: DataKey
    value: bytes | None
    """None: it is a read."""
    invoked: float
    session_sequence: int = 0
    settled: bool = False


class Client:
    """Writes and reads, at any node that is up; retries writes of its session until they are known."""

    def __init__(
        self,
        number: int,
        place: SimPlace,
        nodes: Callable[[], list[SimNode]],
        history: list[Operation],
    ) -> None:
        self._number = number
        self._place = place
        self._world = place.world
        self._nodes = nodes
        self._history = history
        self._count = 0
        self._session = f"client-{number}".encode() if number % 2 else b""
        self._stopped = False

    def start(self) -> None:
        """Begin with the first call."""
        self._world.later(self._world.rng.uniform(0.0, 0.1), self._next)

    def stop(self) -> None:
        """Make no further calls; what is under way is noted when it ends."""
        self._stopped = True

    def _next(self) -> None:
        if self._stopped:
            return
        rng = self._world.rng
        self._count += 1
        key = rng.choice(KEYS)
        writes = rng.choice((True, False))
        value = f"{self._number}.{self._count}".encode() if writes else None
        call = _Call(key, value, self._world.now(), self._count if self._session else 0)
        self._ask(call)

    def _ask(self, call: _Call) -> None:
        up = [node for node in self._nodes() if node.up and not node.retired]
        if not up:
            self._world.later(0.1, lambda: self._ask(call))
            return
        node = self._world.rng.choice(up)
        asked = [True]
        repairs = self._place.network.repairs if node.cut_off else None

        def answered(answers: list[tuple[int, Answer]]) -> None:
            if asked[0]:
                asked[0] = False
                self._judge(node, repairs, answers[0][1])
                self._answered(call, answers[0][1])

        def gave_up() -> None:
            if asked[0]:
                asked[0] = False
                self._answered(call, OutcomeUnknownError("no answer at all"))

        self._world.later(PATIENCE_SECONDS + SLACK_SECONDS, gave_up)
        node.arrive(lambda: self._call(node, call, answered))

    def _call(self, node: SimNode, call: _Call, answers: Answers) -> None:
        deadline = node.clock.now() + PATIENCE_SECONDS
        if call.value is None:
            node.read(Read(0, [Get(call.key)], deadline), answers)
        else:
            put = Put(call.key, call.value)
            node.write(Write(0, [put], deadline, self._session, call.session_sequence), answers)

    def _judge(self, node: SimNode, repairs: int | None, answer: Answer) -> None:
        """Require that a node cut off from the call to its answer does not say yes."""
        still = node.cut_off and repairs == self._place.network.repairs
        if still and not isinstance(answer, DatabaseError):
            self._place.recorder.accuse(
                "silent when cut off",
                f"member {node.id} answered {answer!r} at {self._world.now()}",
            )

    def _answered(self, call: _Call, answer: Answer) -> None:
        retry = call.value is not None and self._session and isinstance(answer, DatabaseError)
        if retry and not self._stopped:
            self._world.later(self._world.rng.uniform(0.0, 0.2), lambda: self._ask(call))
            return
        self._note(call, answer)
        self._world.later(self._world.rng.uniform(0.0, 0.05), self._next)

    def _note(self, call: _Call, answer: Answer) -> None:
        outcome, value = _understood(call, answer, retried=bool(self._session))
        returned = self._world.now() if outcome is not Outcome.UNKNOWN else inf
        self._history.append(
            Operation(
                self._number,
                call.key,
                call.value is not None,
                value,
                call.invoked,
                returned,
                outcome,
            )
        )


def _understood(call: _Call, answer: Answer, *, retried: bool) -> tuple[Outcome, bytes | None]:
    if isinstance(answer, DatabaseError):
        # Any of several attempts of a session may have been the one that counted.
        unknown = isinstance(answer, OutcomeUnknownError) or retried
        return (Outcome.UNKNOWN if unknown else Outcome.FAILED), call.value
    if call.value is not None:
        return Outcome.OK, call.value
    seen = answer[0]
    return Outcome.OK, seen if isinstance(seen, bytes) else None
