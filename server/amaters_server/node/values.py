"""What a node reports about itself and its cluster, as frozen values."""

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from amaters_server.model.cluster import Member, NodeState
from amaters_server.model.versions import Version
from amaters_server.telemetry.counters import Histogram

ADVICE = (
    "bring whichever of the two differs from the rest of the cluster to the others' version; on "
    "Kubernetes correct spec.image (docs/operations/incompatible-member.md)"
)


class Verdict(NamedTuple):
    """Yes or no, and why not."""

    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Incompatible:
    """A member that this one does not work with, because of their versions."""

    member: int
    version: Version
    reason: str
    since_unix_ms: int
    advice: str = ADVICE


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What this one node knows; the fields are those of `admin.StatusResponse`."""

    node_id: int
    cluster_id: str
    name: str
    peer_address: str
    client_address: str
    state: NodeState
    reason: str
    term: int
    leader_id: int
    """0 when none is known."""
    leader_client_address: str
    commit_index: int
    applied_index: int
    first_log_index: int
    last_log_index: int
    member_count: int
    version: str
    started_unix_ms: int
    ready: bool
    restoring: bool
    incompatible: tuple[Incompatible, ...] = ()
    """Members that it does not work with, because of their versions."""
    fenced: bool = False
    """It is kept from leading and from being ready."""

    @property
    def is_leader(self) -> bool:
        """Whether this node leads, as far as it knows."""
        return self.state is NodeState.LEADER


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One member, and how far it follows; only a leader knows its progress."""

    member: Member
    is_leader: bool = False
    match_index: int = 0
    lag_entries: int = 0
    recent_active: bool = False
    version: str = ""
    silent_ms: int | None = None
    """Since the reporting node last received a message of it; 0 for itself, None: never."""


@dataclass(frozen=True, slots=True)
class MembersReport:
    """The members as one node has applied them."""

    cluster_id: str
    leader_id: int
    term: int
    commit_index: int
    members: tuple[MemberStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads, in which term."""

    leader_id: int
    term: int


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """One backup; what a listing cannot say without opening the file is zero."""

    id: int
    timestamp_ms: int
    size_bytes: int = 0
    """Of the file, compressed."""
    original_size_bytes: int = 0
    applied_index: int = 0
    term: int = 0
    key_count: int | None = None
    """None when it is not known without reading the whole file."""
    uri: str = ""
    """Where an uploaded one is."""
    cluster_id: str = ""
    """Whose data it is; empty when it is not known."""


@dataclass(frozen=True, slots=True)
class BackupPiece:
    """Some bytes of a backup file on their way to a caller."""

    backup_id: int
    offset: int
    data: bytes
    total_bytes: int
    sha256: str = ""
    """Of the whole file; with the last piece only."""


class ShardState(enum.Enum):
    """The published states of a shard."""

    ACTIVE = "active"
    SPLITTING = "splitting"
    MERGING = "merging"
    TRANSFERRING = "transferring"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard and who holds it."""

    id: int
    start: bytes
    end: bytes
    """Half open; empty: the end of all keys."""
    state: ShardState
    leader: int
    """0 when no member leads it."""
    replicas: tuple[int, ...]
    estimated_keys: int
    estimated_size_bytes: int


@dataclass(frozen=True, slots=True)
class RestoreUpdate:
    """How far a restore has come; the last one has `done`."""

    keys_restored: int
    keys_total: int
    bytes_restored: int
    done: bool = False
    backup: str = ""
    """What is being restored: the URI of an uploaded backup, or the id of a local one."""


@dataclass(frozen=True, slots=True)
class DiskReport:
    """The room on a node's disk, and what the node refuses for want of it; 0: not measured."""

    free_bytes: int = 0
    total_bytes: int = 0
    kept_bytes: int = 0
    """What has to stay free."""
    low: bool = False
    """Less than that is free: writes that add data are refused."""
    full: bool = False
    """No write is taken."""


@dataclass(slots=True)
class Counters:
    """Plain counts since the start, for telemetry to read; only the event loop writes them."""

    proposals: int = 0
    proposed_writes: int = 0
    proposals_dropped: int = 0
    outcomes_unknown: int = 0
    read_barriers: int = 0
    reads: int = 0
    reads_stale: int = 0
    leader_changes: int = 0
    elections_started: int = 0
    entries_applied: int = 0
    storage_writes: int = 0
    storage_syncs: int = 0
    storage_failures: int = 0
    writes_without_room: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    appends_sent: int = 0
    """Of these messages, those with log entries or their commit."""
    votes_asked: int = 0
    """Of these messages, those that ask for a vote, or whether one would be given."""
    entries_appended: int = 0
    messages_dropped: int = 0
    snapshots_sent: int = 0
    snapshots_installed: int = 0
    snapshot_bytes_sent: int = 0
    log_compactions: int = 0
    append_latency: Histogram = field(default_factory=Histogram)
    """From the proposal of a log entry by this node until it was applied here."""
    storage_durations: list[float] = field(default_factory=list)
    """Seconds of the newest storage writes; a reader that observes them empties the list."""
