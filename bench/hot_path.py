"""What one call costs in Python, from the request's bytes to the answer's; no listener, no disk.

`python -m bench.hot_path [ROUNDS]` prints µs of this thread's processor time per operation and stage.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from time import thread_time
from typing import TypeVar

from amaters.wire import aql_pb2
from amaters_server.access.access import Access
from amaters_server.access.audit import Audit
from amaters_server.access.gate import Gate
from amaters_server.access.roles import BUILT_IN
from amaters_server.config.security.authentication import AuthSection
from amaters_server.config.security.authorization import AuthzSection
from amaters_server.identity.authenticator import Authenticator
from amaters_server.identity.methods import read_methods
from amaters_server.machine import codec
from amaters_server.machine.machine import Machine
from amaters_server.model.queries import Answer, Answers, Read, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.node.loop.answering import Reader
from amaters_server.node.loop.reading import TicketAnswers
from amaters_server.raft.proposal import Origin
from amaters_server.raft.proposals import Proposals, Timeouts
from amaters_server.rpc.aql.pending import QueryLimits
from amaters_server.rpc.aql.service import SERVICE, AqlService
from amaters_server.rpc.callers.callers import Callers
from amaters_server.rpc.transport.budget import AnswerBudget
from amaters_server.rpc.transport.calls import Call, Failure
from amaters_server.storage.memory import MemoryEngine
from amaters_server.telemetry.counters import CallCounters
from amaters_server.testing.loopback import LoopClock
from amaters_server.testing.tokens import Signer
from google.protobuf import json_format

from bench.dialects import BATCH, Aql, Load

CALLS = {Load.SET: 64, Load.GET: 64, Load.BATCH: 8}
"""How many calls wait together."""

SECRET = "a secret of thirty-two bytes, so."
SIGNER = Signer("HS256", SECRET.encode())

BESIDE = "take, asked"
"""The first stage with callers that are asked who they are and what they may; not in the sum."""

T = TypeVar("T")


class Stages:
    """Times of every stage, in µs per operation."""

    def __init__(self) -> None:
        self._times: dict[tuple[Load, str], list[float]] = {}

    def timed(self, load: Load, stage: str, work: Callable[[], T]) -> T:
        """Do the work and note what it took."""
        began = thread_time()
        result = work()
        operations = CALLS[load] * (BATCH if load is Load.BATCH else 1)
        taken = (thread_time() - began) * 1e6 / operations
        self._times.setdefault((load, stage), []).append(taken)
        return result

    def show(self) -> None:
        """Print the lower quartile of every stage, and their sums."""
        for load in Load:
            total = 0.0
            for (of, stage), times in self._times.items():
                if of is load:
                    quartile = sorted(times)[len(times) // 4]
                    total += quartile if stage != BESIDE else 0.0
                    print(f"{load.value:24} {stage:12} {quartile:6.2f}")
            print(f"{load.value:24} {'together':12} {total:6.2f}")


class Caught:
    """A database that only takes in, and an responder that throws away."""

    def __init__(self) -> None:
        self.writes: Sequence[Write] = ()
        self.reads: Sequence[Read] = ()
        self.answers: Answers = self.reply_to_nobody

    def write(self, writes: Sequence[Write], answers: Answers) -> None:
        self.writes, self.answers = writes, answers

    def read(self, reads: Sequence[Read], answers: Answers) -> None:
        self.reads, self.answers = reads, answers

    def reply_to_nobody(self, answered: list[tuple[int, Answer]]) -> None:
        pass

    def reply(self, answers: list[tuple[int, bytes]]) -> None:
        pass

    def fail(self, failures: list[Failure]) -> None:
        pass


def calls(load: Load, header: tuple[str, str]) -> tuple[str, list[Call]]:
    """Return the path of the load's method and calls as the listener hands them over."""
    kind = aql_pb2.BatchRequest if load is Load.BATCH else aql_pb2.QueryRequest
    path = SERVICE + ("ExecuteBatch" if load is Load.BATCH else "ExecuteQuery")
    wanted = Aql().messages(load, "hot")[: CALLS[load]]
    messages = [json_format.ParseDict(one, kind()).SerializeToString() for one in wanted]
    return path, [(at, path, message, 9.5, [header], 1) for at, message in enumerate(messages)]


def write(load: Load, stages: Stages, caught: Caught, machine: Machine, life: int) -> None:
    """Take the writes the way from the node to their answers."""
    proposals = Proposals(Origin(1, life), Timeouts(1, 1))
    entries: list[bytes] = []

    def propose(number: int, writes: Sequence[object]) -> bytes:
        proposal = codec.ProposalId(1, life, number)
        entries.append(codec.encode_writes(proposal, writes, unix_ms=1))  # type: ignore[arg-type]
        return entries[-1]

    def submit() -> None:
        proposals.submit(caught.writes, caught.answers, 0.0)
        proposals.launch(propose, 0.0)

    stages.timed(load, "propose", submit)
    first = machine.applied_index + 1
    run = [Committed(first + at, 1, EntryKind.NORMAL, data) for at, data in enumerate(entries)]
    applied = stages.timed(load, "apply", lambda: machine.apply(run))
    stages.timed(load, "written", lambda: machine.written(applied.version))

    def answer() -> None:
        for outcome in applied.outcomes:
            for answers, answered in proposals.resolve(outcome, 0.0):
                answers(answered)

    stages.timed(load, "answer", answer)


def read(stages: Stages, caught: Caught, machine: Machine) -> None:
    """Answer the reads as the node does."""
    reads, reader = caught.reads, Reader(machine, AnswerBudget(), time.monotonic)

    def look_up() -> TicketAnswers:
        found: TicketAnswers = []
        reader.answer(reads, found.extend)
        return found

    answered = stages.timed(Load.GET, "look up", look_up)
    answered = [(ticket, [b"v" * 115]) for ticket, _ in answered]
    stages.timed(Load.GET, "answer", lambda: caught.answers(answered))


def token() -> tuple[str, str]:
    """Return the header of a caller with a role."""
    claims = {"sub": "bench", "exp": int(time.time()) + 3600, "roles": ["user"]}
    return ("authorization", f"Bearer {SIGNER.token(claims)}")


class Peer:
    """The other end of the one connection."""

    peer = "127.0.0.1:1"
    certificate = None


async def known_callers(call: Call) -> Callers:
    """Return callers that have verified the one of this call."""
    auth = AuthSection.model_validate(
        {"enabled": True, "methods": ["jwt"], "jwt": {"enabled": True, "secret": SECRET}}
    )
    clock = LoopClock()
    authenticator = Authenticator(read_methods(auth, clock), clock)
    audit = Audit(NoLog(), on_failure="drop")
    callers = Callers(authenticator, Gate(Access(AuthzSection(), BUILT_IN), audit, "changes"))
    callers.listen(lambda _: Peer())
    await callers.authenticate(call)
    return callers


class NoLog:
    """An audit log that keeps nothing."""

    def write(self, lines: bytes) -> None:
        pass

    def close(self) -> None:
        pass


def service_of(caught: Caught, now: Callable[[], float], callers: Callers | None) -> AqlService:
    """Return a service over the database that only takes in."""
    return AqlService(
        caught,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        CallCounters(),
        limits=QueryLimits(),
        now=now,
        callers=callers,
    )


async def main(rounds: int) -> None:
    """Measure all loads in turn."""
    now = asyncio.get_running_loop().time
    stages, machine = Stages(), Machine(MemoryEngine())
    header = token()
    prepared = {load: calls(load, header) for load in Load}
    callers = await known_callers(prepared[Load.GET][1][0])
    for _ in range(rounds):
        for load, (path, batch) in prepared.items():
            caught = Caught()
            asking = service_of(caught, now, callers)
            take = asking.methods.unary[path]
            stages.timed(load, BESIDE, lambda: take(batch, caught))  # noqa: B023 - called at once
            service = service_of(caught, now, None)
            take = service.methods.unary[path]
            stages.timed(load, "take", lambda: take(batch, caught))  # noqa: B023
            if load is Load.GET:
                read(stages, caught, machine)
            else:
                write(load, stages, caught, machine, machine.applied_index + 1)
            await service.close()
            await asking.close()
    stages.show()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
