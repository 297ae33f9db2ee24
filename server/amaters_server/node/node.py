"""One node: what it does for its callers. Everything that decides lives in the parts it holds.

node = Node(settings, NodeParts(engine, machine, transport, backups, clock))
await node.start()
node.write([...], answers) ; node.read([...], answers)
node.members.add(...) ; node.backups.create() ; node.peers (what other members ask)
await node.stop(grace_seconds=10)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaters_server.model.errors import NotReadyError
from amaters_server.model.queries import Answers, Read, ReadAge, Write
from amaters_server.node.ports import Clock, MachineView, PeerTransport, StateMachine
from amaters_server.node.settings import NodeSettings
from amaters_server.node.values import Counters, NodeStatus, Verdict
from amaters_server.storage.engine import Engine


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What a node is built from; it closes them when it stops."""

    engine: Engine
    machine: StateMachine
    transport: PeerTransport
    clock: Clock


class Node:
    """One member of a cluster (perhaps its only one). All methods belong to the event loop."""

    def __init__(self, settings: NodeSettings, parts: NodeParts) -> None:
        self.settings = settings
        self.counters = Counters()
        self._parts = parts

    async def start(self) -> None:
        """Begin to take part: continue from the disk, or find out who this node is.

        Returns at once; `readiness` tells when the node serves. StorageError when the disk
        contradicts itself.
        """
        raise NotReadyError("it is starting")

    async def stop(self, grace_seconds: float) -> None:
        """Leave in order: not ready, leadership handed over, calls answered, disk flushed, closed.

        Calls that still wait at the end of the grace are answered with ShuttingDownError or
        OutcomeUnknownError. Closes the engine and the transport. Idempotent.
        """
        raise NotReadyError("it is starting")

    def write(self, writes: Sequence[Write], answers: Answers) -> None:
        """Replicate the writes, as few log entries; `answers` hears of every ticket once."""
        answers([(write.ticket, NotReadyError("it is starting")) for write in writes])

    def read(self, reads: Sequence[Read], answers: Answers) -> None:
        """Answer the reads, linearizably unless they say `stale`."""
        answers([(read.ticket, NotReadyError("it is starting")) for read in reads])

    async def view(self, deadline: float, *, stale: bool = False) -> MachineView:
        """Return a consistent view, taken after a read barrier unless `stale`; the caller closes it.

        DeadlineError or NoLeaderError when the barrier cannot be had in time.
        """
        raise NotReadyError("it is starting")

    def read_age(self) -> ReadAge:
        """Return how old a stale read answered now may be."""
        raise NotReadyError("it is starting")

    def status(self) -> NodeStatus:
        """Return what this node knows of itself and of its cluster."""
        raise NotReadyError("it is starting")

    def readiness(self) -> Verdict:
        """Say whether this node takes part: leader known, applied close to commit, disk fine."""
        return Verdict(ok=False, reason="it is starting")

    def liveness(self) -> Verdict:
        """Say whether the event loop and the storage thread make progress; peers do not matter."""
        return Verdict(ok=True)

    def on_leader_change(self, heard: Callable[[int, int], None]) -> None:
        """Call `heard(leader_id or 0, term)` after every change from now on."""
