"""One call as it arrives: when it must be answered by, and what its metadata asks for."""

from dataclasses import dataclass
from typing import NamedTuple

from amaters_server.model.errors import MalformedError
from amaters_server.rpc.calls import Metadata, Outlet
from amaters_server.rpc.ledger import Encoder, Waiting
from amaters_server.telemetry.counters import OpCounters

STALE_READ = ("amaters-read", "stale")
"""Metadata of a caller that prefers an answer from this node, however old, to asking the leader."""
NEVER_FORWARD = ("amaters-forward", "never")
"""Metadata of a caller that wants to be told who leads rather than be helped."""

SESSION_MARK = "s:"
"""How a request id begins that names a write session: s:SESSION IN HEXADECIMAL:SEQUENCE."""
LONGEST_SESSION_BYTES = 64
_NO_SESSION = (b"", 0)
HIGHEST_SEQUENCE = 2**63 - 1


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

    def waiting(self, counters: OpCounters, encoder: Encoder) -> Waiting:
        """Return what the ledger keeps of it."""
        outlet, call_id, request_id, started, _, _ = self
        return Waiting(outlet, call_id, counters, request_id, started, encoder)

    @property
    def stale(self) -> bool:
        """Whether a stale answer will do."""
        return wants_stale(self.metadata)

    @property
    def forward(self) -> bool:
        """Whether the leader may be asked on the caller's behalf."""
        return wants_forwarding(self.metadata)

    @property
    def session(self) -> tuple[bytes, int]:
        """The write session and its sequence that the request id names; empty and 0 for none."""
        return session_of(self.request_id)


def wants_stale(metadata: Metadata | None) -> bool:
    """Whether a stale answer will do."""
    return metadata is not None and STALE_READ in metadata


def wants_forwarding(metadata: Metadata | None) -> bool:
    """Whether the leader may be asked on the caller's behalf."""
    return metadata is None or NEVER_FORWARD not in metadata


def session_of(request_id: str | None) -> tuple[bytes, int]:
    """Return the write session and its sequence; empty and 0 for none, MalformedError if half."""
    if request_id is None or not request_id.startswith(SESSION_MARK):
        return _NO_SESSION
    return _session(request_id)


def _session(request_id: str) -> tuple[bytes, int]:
    """Read SESSION and SEQUENCE; taken for no session, a repeated write would be made twice."""
    name, _, count = request_id.removeprefix(SESSION_MARK).partition(":")
    try:
        session, sequence = bytes.fromhex(name), int(count)
    except ValueError:
        session, sequence = b"", 0
    if not 0 < len(session) <= LONGEST_SESSION_BYTES or not 0 < sequence <= HIGHEST_SEQUENCE:
        raise MalformedError(
            f"request id {request_id[:100]!r} names no write session: write s:HEXADECIMAL:SEQUENCE "
            f"with up to {LONGEST_SESSION_BYTES} bytes and a sequence from 1"
        )
    return session, sequence


def seconds_for(timeout_ms: int, left: float | None, longest: float) -> float:
    """Return how long a call may take: the least of its own two limits and the server's."""
    if timeout_ms and timeout_ms < longest * 1000:
        longest = timeout_ms / 1000
    return longest if left is None or left > longest else left
