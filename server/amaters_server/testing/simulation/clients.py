"""Clients of a simulated cluster: each does one thing after the other, and writes down what it saw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from amaters_server.model.errors import DatabaseError, OutcomeUnknownError
from amaters_server.model.keys import DataKey, data_key
from amaters_server.model.queries import Answer, Answers, Get, Put, Read, Write
from amaters_server.model.queries import Operation as ModelOperation
from amaters_server.testing.history import Operation, Outcome
from amaters_server.testing.simulation import updates
from amaters_server.testing.simulation.node import SimNode
from amaters_server.testing.simulation.place import SimPlace

KEYS = tuple(data_key("c", name) for name in (b"a", b"b", b"c"))
PAIR_SHARE = 0.2
"""Of the calls, that write or read two rows as one."""
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
    operations: Sequence[ModelOperation] = ()


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
        in_pair = rng.random() < PAIR_SHARE
        key = updates.PAIR if in_pair else rng.choice(KEYS)
        writes = rng.choice((True, False))
        value = f"{self._number}.{self._count}".encode() if writes else None
        operations: Sequence[ModelOperation] = [Get(key) if value is None else Put(key, value)]
        if in_pair and value is not None:
            alone = rng.choice((True, False))
            operations = updates.writes(value, self._number, alone=alone)
            value = updates.blob(value).SerializeToString()
        elif in_pair:
            operations = updates.READS
        sequence = self._count if self._session else 0
        self._ask(_Call(key, value, self._world.now(), sequence, operations))

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
            node.read(Read(0, call.operations, deadline), answers)
        else:
            session = (self._session, call.session_sequence)
            node.write(Write(0, call.operations, deadline, *session), answers)

    def _judge(self, node: SimNode, repairs: int | None, answer: Answer) -> None:
        """Require that a node cut off from the call to its answer does not say yes."""
        still = node.cut_off and repairs == self._place.network.repairs
        if still and not isinstance(answer, DatabaseError):
            self._place.recorder.accuse(
                "silent when cut off",
                f"member {node.id} answered {answer!r} at {self._world.now()}",
            )

    def _require_whole(self, call: _Call, answer: Answer) -> None:
        """Require that two rows that are written as one are so for everybody."""
        if call.key != updates.PAIR or isinstance(answer, DatabaseError):
            return
        if updates.half_of(answer) or (call.value is None and answer[0] != answer[1]):
            self._place.recorder.accuse("all or nothing", f"half of an update: {answer!r}")

    def _answered(self, call: _Call, answer: Answer) -> None:
        retry = call.value is not None and self._session and isinstance(answer, DatabaseError)
        if retry and not self._stopped:
            self._world.later(self._world.rng.uniform(0.0, 0.2), lambda: self._ask(call))
            return
        self._require_whole(call, answer)
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
        # An update that found no rows has written none.
        return Outcome.FAILED if answer == [0] else Outcome.OK, call.value
    seen = answer[0]
    return Outcome.OK, seen if isinstance(seen, bytes) else None
