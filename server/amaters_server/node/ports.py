"""What a node needs of its peers, what its loop reports to it, and the views it hands out."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from amaters_server.model.cluster import Member
from amaters_server.model.errors import DatabaseError
from amaters_server.model.principal import ForwardedFor
from amaters_server.raft.outbox import Snapshot, SnapshotOffer
from amaters_server.wire import peer_pb2


class DataView(Protocol):
    """The state at the moment the view was taken; usable in another thread."""

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value under the data key, or None."""
        ...

    def scan(self, start: bytes, end: bytes, /) -> Iterator[tuple[bytes, bytes]]:
        """Walk the half-open range [start, end) in bytewise order, lazily."""
        ...

    def close(self) -> None:
        """Release what the view holds."""
        ...


class AnswerRoom(Protocol):
    """How much memory answers may take until their callers have taken them."""

    @property
    def small(self) -> int:
        """Values up to this size are not asked about."""
        ...

    @property
    def largest(self) -> int:
        """No answer may be larger."""
        ...

    def has_room(self) -> bool:
        """Whether the largest answer may be made now."""
        ...

    def when_freed(self, resume: Callable[[], None], /) -> None:
        """Call this once, when there is room again."""
        ...

    def not_taken(self) -> DatabaseError:
        """Return why there was no room in time."""
        ...

    def too_large(self) -> DatabaseError:
        """Return why an answer is not made."""
        ...


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """How a node identifies itself on every connection to another member."""

    cluster_id: str
    node_id: int
    version: tuple[int, int, int]


class PeerTransport(Protocol):
    """Connections to the other members and to addresses that may become members."""

    def send(self, to: int, messages: Sequence[bytes], /) -> bool:
        """Send in order or not at all; never blocks. False when they were dropped."""
        ...

    def on_answer(self, answered: Callable[[int, peer_pb2.HandshakeResponse], str], /) -> None:
        """Ask this about every answer to a handshake; what it returns refuses the connection."""
        ...

    def connect(self, identity: PeerIdentity, others: Sequence[Member]) -> None:
        """Keep connections to exactly these members from now on."""
        ...

    def nudge(self, member: int, /, *, reconnect: bool = False) -> None:
        """Connect to a member that is up now; `reconnect`: replace a connection that exists."""
        ...

    def ask_again(self, member: int, /) -> None:
        """Have a member answer another handshake soon, at its own address."""
        ...

    def versions(self) -> Mapping[int, str]:
        """Return the versions that members reported in their handshakes."""
        ...

    def revisions(self) -> Mapping[int, int]:
        """Return the protocol revisions of the members whose handshakes were answered."""
        ...

    async def identify(
        self, address: str, request: peer_pb2.IdentifyRequest, timeout: float
    ) -> peer_pb2.IdentifyResponse:
        """Ask the node at that address for its identity; OSError when unreachable."""
        ...

    async def forward(
        self, to: int, request: peer_pb2.ForwardRequest, timeout: float
    ) -> peer_pb2.ForwardResponse:
        """Have another member answer; OSError when it cannot be reached in time."""
        ...

    def fetch_snapshot(
        self, source: int, request: peer_pb2.FetchImageRequest
    ) -> AsyncIterator[peer_pb2.ImageChunk]:
        """Read a snapshot of another member from an offset on; OSError when it breaks off."""
        ...

    async def close(self) -> None:
        """Send what is queued if that is quick, then close all connections."""
        ...


class Permit(Protocol):
    """Asks again, on the leader, for permission for a call that another member passed on."""

    def __call__(self, caller: ForwardedFor | None, method: str, /) -> None:
        """Raise PermissionDeniedError or AuthenticationError unless the caller may.

        None: the member did not name its caller.
        """
        ...


def everybody(_caller: ForwardedFor | None, _method: str, /) -> None:
    """Let every caller pass, where nobody is asked."""


class LoopEvents(Protocol):
    """The node's side of its loop; every method is called on the event loop."""

    def leader_changed(self, leader: int, role: str, /) -> None:
        """Report the leader (0: none), and what this node is now."""
        ...

    def members_changed(self) -> None:
        """Report that the membership in the state machine is another one."""
        ...

    def changes_applied(self, contexts: Sequence[bytes], /) -> None:
        """Report which membership entries were applied."""
        ...

    def snapshot_offered(self, offer: SnapshotOffer, /) -> None:
        """Report an offer, whose message is stepped once its snapshot is here."""
        ...

    def snapshots_wanted(self, members: Sequence[int], /) -> None:
        """Report members that lack entries which the log no longer holds."""
        ...

    def far_term(self, member: int, /) -> None:
        """Report a member whose messages are of a term so far ahead that it has to confirm it."""
        ...

    def install(self, snapshot: Snapshot, /) -> None:
        """Install the snapshot, since everything handed out is written; then call `resume`."""
        ...

    def is_alone(self) -> bool:
        """Whether this node is the only voter."""
        ...

    def failed(self, error: DatabaseError, /) -> None:
        """Report that the loop has stopped because its disk or raft is beyond repair."""
        ...
