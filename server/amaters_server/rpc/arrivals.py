"""One call as it arrives: when it must be answered by, and what its metadata asks for."""

from dataclasses import dataclass
from typing import NamedTuple

from amaters.wire.aql_pb2 import BatchRequest, QueryRequest

from amaters_server.rpc.calls import Metadata, Outlet
from amaters_server.rpc.ledger import Encoder, Waiting
from amaters_server.telemetry.counters import Op

STALE_READ = ("amaters-read", "stale")
"""Metadata of a caller that prefers an answer from this node, however old, to asking the leader."""
NEVER_FORWARD = ("amaters-forward", "never")
"""Metadata of a caller that wants to be told who leads rather than be helped."""


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What one call may take."""

    request_seconds: float = 30.0
    """How long a call may take that names no shorter time itself."""
    message_bytes: int = 4 * 1024 * 1024
    active_calls: int = 1000


class Arrival(NamedTuple):
    """One call while it is being decoded."""

    outlet: Outlet
    call_id: int
    request_id: str | None
    started: float
    deadline: float
    metadata: Metadata | None

    def waiting(self, op: Op, encoder: Encoder) -> Waiting:
        """Return what the ledger keeps of it."""
        return Waiting(self.outlet, self.call_id, op, self.request_id, self.started, encoder)

    @property
    def stale(self) -> bool:
        """Whether a stale answer will do."""
        return self.metadata is not None and STALE_READ in self.metadata

    @property
    def forward(self) -> bool:
        """Whether the leader may be asked on the caller's behalf."""
        return self.metadata is None or NEVER_FORWARD not in self.metadata


def seconds_for(request: QueryRequest | BatchRequest, left: float | None, longest: float) -> float:
    """Return how long a call may take: the least of its own two limits and the server's."""
    if request.timeout_ms:
        longest = min(longest, request.timeout_ms / 1000)
    return longest if left is None else min(longest, left)
