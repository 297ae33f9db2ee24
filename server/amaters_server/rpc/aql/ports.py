"""What the services need of the node; `node.Node` has it, and tests bring a dictionary."""

from collections.abc import Sequence
from typing import Protocol

from amaters_server.model.queries import Answers, Read, ReadAge, Write
from amaters_server.node.ports import DataView
from amaters_server.node.values import NodeStatus, Verdict


class AqlNode(Protocol):
    """One replicated database, seen from one of its nodes."""

    def write(self, writes: Sequence[Write], answers: Answers, /) -> None:
        """Carry the writes out; every ticket is answered exactly once."""
        ...

    def require_slow_writes(self) -> None:
        """Pass if all known members can apply SlowOperations; else MembersTooOldError."""
        ...

    def read(self, reads: Sequence[Read], answers: Answers, /) -> None:
        """Answer the reads; every ticket is answered exactly once."""
        ...

    async def view(self, deadline: float, *, stale: bool = False) -> DataView:
        """Return a consistent view; the caller closes it."""
        ...

    def read_age(self) -> ReadAge:
        """Return how old a stale read answered now may be."""
        ...

    def status(self) -> NodeStatus:
        """Return what the node knows of itself."""
        ...

    def readiness(self) -> Verdict:
        """Say whether the node serves."""
        ...
