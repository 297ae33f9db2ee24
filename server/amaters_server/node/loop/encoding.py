"""What this node proposes, as log entries: the writes of callers, and the steps of a restore."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from amaters_server.machine import codec
from amaters_server.machine.restore import RestoreStep
from amaters_server.model.queries import Operation, Write
from amaters_server.raft.proposal import Encode, Origin, WaitingCommand


class RestoreWrite(NamedTuple):
    """One step of a restore, waiting like any other write; an entry of its own."""

    ticket: int
    step: RestoreStep
    deadline: float
    operations: Sequence[Operation] = ()
    forward: bool = True


def encoder(unix_ms: Callable[[], int]) -> Encode:
    """Return what makes this node's entries."""

    def encode(origin: Origin, sequence: int, commands: Sequence[WaitingCommand]) -> bytes:
        proposal = codec.ProposalId(origin.node_id, origin.incarnation, sequence)
        first = commands[0] if commands else None
        if isinstance(first, RestoreWrite):
            return codec.encode_restore(proposal, first.step, unix_ms=unix_ms())
        return codec.encode_writes(proposal, cast("Sequence[Write]", commands), unix_ms=unix_ms())

    return encode
