"""A whole simulated cluster under faults, and the verdict on what it did.

verdict = SimCluster(seed=7).run()
assert not verdict.violations, verdict
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from typing_extensions import override

from amaters_server.model.errors import DatabaseError, DeadlineError
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Answer, Put, Write
from amaters_server.testing import history
from amaters_server.testing.history import Operation, Outcome
from amaters_server.testing.simulation.clients import Client
from amaters_server.testing.simulation.faults import Faults
from amaters_server.testing.simulation.members import SimMembers
from amaters_server.testing.simulation.node import SimNode

CLIENTS = 4
TROUBLED_SECONDS = 7.0
CALM_SECONDS = 1.0
"""Clients go on so long after everything was repaired."""
QUIET_SECONDS = 4.0
PROBE_SECONDS = 1.0
"""Nothing but ticks: everybody must have caught up at its end."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run showed."""

    seed: int
    violations: list[str]
    operations: int
    acknowledged: int
    unknown: int
    elections: int
    faults: dict[str, int]
    fingerprint: str
    """Equal for equal runs: proves that nothing but the seed decides."""

    @override
    def __str__(self) -> str:
        found = "\n  ".join(self.violations) or "nothing wrong"
        return (
            f"seed {self.seed}: {found}\n"
            f"{self.operations} calls, {self.acknowledged} writes acknowledged, "
            f"{self.unknown} unknown, {self.elections} terms with a leader, faults {self.faults}\n"
            f"replay it: python -m amaters_server.testing.replay {self.seed}"
        )


@dataclass(slots=True)
class SimCluster(SimMembers):
    """Members, clients and faults in one virtual world."""

    troubled_seconds: float = TROUBLED_SECONDS
    make_faults: Callable[[SimMembers], Faults] = Faults
    history: list[Operation] = field(init=False, default_factory=list)

    def run(self) -> RunResult:
        """Trouble the cluster, let it recover, and judge."""
        for node in self.nodes.values():
            node.start()
        clients = [
            Client(number, self.place, self.up, self.history) for number in range(1, CLIENTS + 1)
        ]
        for client in clients:
            client.start()
        faults = self.make_faults(self)
        faults.start()
        self.world.run(self.troubled_seconds)
        faults.stop()
        calm = self.troubled_seconds + CALM_SECONDS
        self.world.run(calm)
        for client in clients:
            client.stop()
        mute = self._probe()
        self.world.run(calm + QUIET_SECONDS)
        for node_id, answer in mute.items():
            self.recorder.accuse("takes writes", f"member {node_id}: {answer!r}")
        return self._result(faults)

    def _probe(self) -> dict[int, Answer]:
        """Write through every member until it succeeds; keeps the last answer of those that fail."""
        mute: dict[int, Answer] = {}

        def ask(node: SimNode) -> None:
            put = Put(data_key("probe", b"%d" % node.id), b"")
            write = Write(0, [put], node.clock.now() + PROBE_SECONDS)
            node.arrive(lambda: node.write(write, lambda answered: heard(node, answered[0][1])))

        def heard(node: SimNode, answer: Answer) -> None:
            if not isinstance(answer, DatabaseError):
                del mute[node.id]
                return
            mute[node.id] = answer
            self.world.later(PROBE_SECONDS / 10, lambda: ask(node))

        for node in self.up():
            mute[node.id] = DeadlineError("an answer")
            ask(node)
        return mute

    def _result(self, faults: Faults) -> RunResult:
        recorder = self.recorder
        for violation in history.violations(self.history):
            recorder.accuse("linearizable", str(violation))
        recorder.acknowledged(
            one.value for one in self.history if one.write and one.outcome is Outcome.OK
        )
        for node in self.up():
            node.show_state()
        for problem in self._stuck():
            recorder.accuse("catches up", problem)
        outcomes = [one.outcome for one in self.history if one.write]
        text = "\n".join([*recorder.trace, *map(repr, self.history)])
        return RunResult(
            seed=self.seed,
            violations=list(recorder.violations),
            operations=len(self.history),
            acknowledged=outcomes.count(Outcome.OK),
            unknown=outcomes.count(Outcome.UNKNOWN),
            elections=len(recorder.leaders),
            faults=dict(faults.counts),
            fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
        )

    def _stuck(self) -> list[str]:
        """After a long calm everybody must have caught up, and somebody must lead."""
        if self.leader() is None:
            return ["nobody leads although everything was well for a long time"]
        indices = {node.id: node.machine.applied_index for node in self.up()}
        if len(set(indices.values())) > 1:
            return [f"members did not catch up in a long calm: {indices}"]
        return []
