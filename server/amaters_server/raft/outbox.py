"""What a member does next: the driver and the replica fill it, their shell carries it out."""

from dataclasses import dataclass, field

from amaters_server.model.cluster import ConfState
from amaters_server.model.queries import Delivery
from amaters_server.model.replication import Outcome
from amaters_server.raft.proposal import Origin
from amaters_server.raft.raft_node import Message, Ready
from amaters_server.raft.reads import WaitingReads
from amaters_server.storage.engine import Changes


@dataclass(slots=True)
class Batch:
    """Changes for the storage thread; `persisted` takes the token once they are written."""

    token: int
    changes: Changes = field(default_factory=Changes)
    sync: bool = False
    """Whether they must be durable, not only written."""
    vote: bool = False
    """Whether a term, a vote or an incarnation is among them: these never wait for a sync."""
    ready: int = 0
    """The last Ready that is durable with this batch; 0: none."""
    messages: list[Message] = field(default_factory=list)
    """Messages that must not leave before the batch is written."""
    version: int = 0
    applied: int = 0

    def cover(self, ready: Ready) -> None:
        """Make this the batch whose write makes the Ready durable."""
        self.ready = ready.number
        self.messages += ready.persisted_messages


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the cluster at one entry; the data names where to fetch it."""

    index: int
    term: int
    conf_state: ConfState
    data: bytes


@dataclass(frozen=True, slots=True)
class SnapshotOffer(Snapshot):
    """A snapshot that a leader offers."""

    message: bytes
    """For `Replica.step` with `fetched`, once the snapshot is here."""


@dataclass(slots=True)
class Outbox:
    """The work of the shell, in any order, except that messages and writes each keep theirs."""

    messages: list[Message] = field(default_factory=list)
    writes: list[Batch] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    reads: list[WaitingReads] = field(default_factory=list)
    """Reads to answer from the state machine as it is now."""
    conf_contexts: list[bytes] = field(default_factory=list)
    """Contexts of the membership changes that were applied."""
    members_changed: bool = False
    leadership: tuple[int, str] | None = None
    """Leader (or 0) and own role, when either changed."""
    renewal: Origin | None = None
    """The incarnation being written because another member's entry took this node's name."""
    offers: list[SnapshotOffer] = field(default_factory=list)
    install: Snapshot | None = None
    """Once everything handed out is written: install it, then call `installed`."""
    unfinished: bool = False
    """Whether an entry is being applied in slices: `advance` again soon."""
    snapshots_wanted: list[int] = field(default_factory=list)
    """Members that need a newer snapshot than the one on offer."""
    outcomes: list[Outcome] = field(default_factory=list)
    """For the replica, which turns them into deliveries."""
    read_states: list[tuple[int, bytes]] = field(default_factory=list)
    """For the replica: (index, context) of barriers that hold once the index is applied."""
