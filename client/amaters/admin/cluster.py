"""The cluster as the admin service reports it: frozen values, no wire, no I/O."""

import enum
from dataclasses import dataclass, field
from datetime import datetime


class NodeState(enum.Enum):
    """The state of a node."""

    UNKNOWN = "unknown"
    """A newer server reported a state that this client does not know."""
    STARTING = "starting"
    """It opens its disk, and has not said yet what is on it."""
    WAITING = "waiting"
    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"
    LEARNER = "learner"
    REMOVED = "removed"
    DISK_LOST = "disk_lost"
    SHUTTING_DOWN = "shutting_down"


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """A certificate that a listener serves right now."""

    listener: str
    """"client" or "peer"."""
    serial: str
    """Lower-case hexadecimal without separators or leading zeros."""
    not_after: datetime
    subject: str


@dataclass(frozen=True, slots=True)
class IncompatibleMember:
    """A member that the answering node does not work with, because their versions do not fit."""

    member_id: int
    version: str
    reason: str
    """Why, and who refuses whom."""
    advice: str
    since: datetime


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """The room on a node's disk, in bytes."""

    total: int
    free: int
    kept: int
    """What has to stay free."""
    low: bool
    """Less than that is free: writes that add data are refused."""
    full: bool
    """No write is taken."""


@dataclass(frozen=True, slots=True)
class SetAsideData:
    """What a removed member has left on a node's disk."""

    member_id: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ConnectedClients:
    """Open connections of clients of one version."""

    version: str
    """Of the client library; empty: clients that do not say it."""
    connections: int


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The status that one node reports of itself."""

    node_id: int
    """Zero while the node belongs to no cluster."""
    name: str
    state: NodeState
    reason: str
    """Why the node is in this state and what to do, where that is not obvious."""
    ready: bool
    restoring: bool
    is_leader: bool
    leader_id: int
    """Zero when no leader is known."""
    cluster_id: str
    term: int
    commit_index: int
    applied_index: int
    first_log_index: int
    last_log_index: int
    num_nodes: int
    num_shards: int
    version: str
    peer_address: str
    client_address: str
    started_at: datetime | None
    certificates: tuple[CertificateInfo, ...]
    config_digest: str = ""
    """SHA-256 of the configuration file as last taken over; empty when there is none."""
    incompatible: tuple[IncompatibleMember, ...] = ()
    """Members that it does not work with, for as long as that is so."""
    disk: DiskUsage | None = None
    """None where it is not measured, and of earlier servers."""
    set_aside: tuple[SetAsideData, ...] = ()
    fenced: bool = False
    """It is kept from leading and from being ready."""
    clients: tuple[ConnectedClients, ...] = ()
    """Who is connected to its client address: the 16 oldest versions, the oldest first."""


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """One member of the cluster. Ids are never used twice."""

    id: int
    name: str
    peer_address: str
    client_address: str
    is_learner: bool
    started: bool
    """False until a node with a disk has claimed this member."""
    is_leader: bool
    match_index: int
    """Highest log index known to be on its disk; zero unless the leader answered."""
    lag_entries: int
    recent_active: bool
    version: str


@dataclass(frozen=True, slots=True)
class ClusterMembers:
    """The members as the answering node has applied them."""

    cluster_id: str
    leader_id: int
    term: int
    commit_index: int
    members: tuple[MemberInfo, ...]

    @property
    def voters(self) -> tuple[MemberInfo, ...]:
        """The members that count towards a majority."""
        return tuple(one for one in self.members if not one.is_learner)

    @property
    def learners(self) -> tuple[MemberInfo, ...]:
        """The members that are still catching up, or wait to be promoted."""
        return tuple(one for one in self.members if one.is_learner)

    def by_id(self, member_id: int) -> MemberInfo | None:
        """Return the member with that id, or None."""
        return next((one for one in self.members if one.id == member_id), None)

    def at(self, peer_address: str) -> MemberInfo | None:
        """Return the member whose internal listener is there, or None."""
        return next((one for one in self.members if one.peer_address == peer_address), None)


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who leads, confirmed by a quorum."""

    leader_id: int
    term: int


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One backup of the data, on the node's disk or in a store."""

    id: int
    created_at: datetime
    size_bytes: int
    """Compressed size of the file, header included; zero where it is not known."""
    original_size_bytes: int
    applied_index: int
    term: int
    key_count: int | None
    """None where it is not known without reading the whole file."""
    uri: str
    """Where an uploaded one is; empty for a local file."""
    cluster_id: str = ""
    """Whose data it is; empty when unknown, or when the server is of an earlier version."""


@dataclass(frozen=True, slots=True)
class StoreCredentials:
    """Credentials of a store, sent with one call; they are never printed."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RestoreProgress:
    """The progress of a restore; the last report has `done` set."""

    keys_restored: int
    keys_total: int
    bytes_restored: int
    done: bool
    snapshot: str = ""
    """What is being restored: the URI of an uploaded backup, or the id of one on the node."""


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What a reload of configuration and certificates did."""

    success: bool
    sections_updated: tuple[str, ...]
    sections_skipped: tuple[str, ...]
    """Sections that changed in the file and need a restart to take effect."""
    errors: tuple[str, ...]
    certificates: tuple[CertificateInfo, ...]
