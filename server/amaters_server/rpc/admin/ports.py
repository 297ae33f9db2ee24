"""What the admin service needs of the node, of its backups, and of the running process."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from amaters_server.alerts.events import FiredAlert
from amaters_server.backups.stores.s3_settings import S3Credentials
from amaters_server.config.reloadable import ReloadReport
from amaters_server.model.cluster import Member
from amaters_server.model.principal import ForwardedFor
from amaters_server.node.backup.files import StoreAccess
from amaters_server.node.values import (
    BackupPiece,
    DiskReport,
    Leader,
    MembersReport,
    NodeStatus,
    RestoreUpdate,
    ShardInfo,
    Verdict,
)
from amaters_server.rpc.admin.upkeep import AdminMaintenance
from amaters_server.storage.set_aside import SetAside
from amaters_server.telemetry.certificates import CertificateFacts
from amaters_server.telemetry.counters import ConnectedClients
from amaters_server.telemetry.feed import Feed
from amaters_server.telemetry.health import HealthFacts
from amaters_server.telemetry.logs import RecentRecord
from amaters_server.telemetry.requests import RequestRing


class BackupFacts(Protocol):
    """What is reported of one backup; `node.values` has it as a value."""

    @property
    def id(self) -> int: ...  # noqa: D102
    @property
    def timestamp_ms(self) -> int: ...  # noqa: D102
    @property
    def size_bytes(self) -> int: ...  # noqa: D102
    @property
    def original_size_bytes(self) -> int: ...  # noqa: D102
    @property
    def applied_index(self) -> int: ...  # noqa: D102
    @property
    def term(self) -> int: ...  # noqa: D102
    @property
    def key_count(self) -> int | None: ...  # noqa: D102
    @property
    def uri(self) -> str: ...  # noqa: D102
    @property
    def cluster_id(self) -> str: ...  # noqa: D102


class AdminMembers(Protocol):
    """Membership, as `node.members` offers it."""

    async def report(
        self, *, from_leader: bool, deadline: float, caller: ForwardedFor | None = None
    ) -> MembersReport:
        """Return the members."""
        ...

    async def add(
        self,
        peer_address: str,
        client_address: str,
        name: str,
        *,
        deadline: float,
        caller: ForwardedFor | None = None,
    ) -> Member:
        """Add a learner."""
        ...

    async def promote(
        self, node: int, /, *, deadline: float, caller: ForwardedFor | None = None
    ) -> Member:
        """Let a learner vote."""
        ...

    async def remove(
        self, node: int, /, *, deadline: float, caller: ForwardedFor | None = None
    ) -> MembersReport:
        """Remove a member for good."""
        ...

    async def transfer(
        self, to: int, /, *, deadline: float, caller: ForwardedFor | None = None
    ) -> Leader:
        """Move leadership."""
        ...


class AdminNode(Protocol):
    """One node, as its administrators see it."""

    def status(self) -> NodeStatus:
        """Return what the node knows of itself."""
        ...

    def readiness(self) -> Verdict:
        """Say whether the node serves."""
        ...

    async def fence(self, fenced: bool, deadline: float, /) -> None:  # noqa: FBT001 - it says what
        """Keep the node from leading and from being ready, or no longer."""
        ...

    def disk(self) -> DiskReport:
        """Return the room on its disk, as far as it is measured."""
        ...

    @property
    def members(self) -> AdminMembers:
        """The members of the cluster; NotReadyError before the node is one."""
        ...

    def shards(self) -> Sequence[ShardInfo]:
        """Return who holds which keys."""
        ...


class AdminBackups(Protocol):
    """Backups of one node, here and elsewhere."""

    async def create(self, upload: StoreAccess | None, /) -> BackupFacts:
        """Write a backup of the data as of now, and upload it when asked."""
        ...

    async def upload(self, backup_id: int, access: StoreAccess, /) -> str:
        """Upload a local backup; returns its URI."""
        ...

    async def list_local(self) -> Sequence[BackupFacts]:
        """Return the backups here."""
        ...

    async def list_remote(
        self, access: StoreAccess, /, *, every_cluster: bool
    ) -> Sequence[BackupFacts]:
        """Return the backups there, of this cluster or of every one."""
        ...

    async def delete_local(self, backup_id: int, /) -> None:
        """Delete one here."""
        ...

    async def delete_remote(self, uri: str, credentials: S3Credentials | None, /) -> None:
        """Delete one there."""
        ...

    def download(self, backup_id: int, /) -> AsyncIterator[BackupPiece]:
        """Read one here, piece by piece; 0: the newest."""
        ...

    def restore(
        self,
        uri: str,
        /,
        *,
        replace: bool,
        remote: bool,
        credentials: S3Credentials | None,
        collection: str,
    ) -> AsyncIterator[RestoreUpdate]:
        """Load a backup's data into the cluster, reporting how far it is."""
        ...


class AdminReload(Protocol):
    """The process's configuration in force, and how it is reloaded."""

    def digest(self) -> str:
        """Return the digest of the configuration file in force; empty when there is none."""
        ...

    async def ask(self) -> ReloadReport:
        """Reload as if SIGHUP had come, and return the report."""
        ...


class AdminFolder(Protocol):
    """The data folder of one node."""

    async def usage(self, known: DiskReport, /) -> DiskReport:
        """Return the room on its disk; `known` is what the node has measured itself."""
        ...

    async def set_fenced(self, fenced: bool, /) -> None:  # noqa: FBT001 - it says what
        """Record that for the next starts; StorageError when that is impossible."""
        ...

    async def set_aside(self) -> Sequence[SetAside]:
        """Return what removed members have left there."""
        ...

    async def request(self, status: NodeStatus, member: int, cluster_id: str, /) -> None:
        """Set aside what this removed member has stored, and restart."""
        ...

    async def discard(self, status: NodeStatus, member: int, /) -> None:
        """Delete for good what was set aside of that member."""
        ...


@dataclass(frozen=True, slots=True)
class AdminParts:
    """Everything the admin service speaks for."""

    node: AdminNode
    backups: AdminBackups
    certificates: Callable[[], Sequence[CertificateFacts]]
    reloading: AdminReload
    now: Callable[[], float]
    health: Callable[[], HealthFacts]
    alerts: Feed[FiredAlert]
    log: Feed[RecentRecord]
    caller: Callable[[int], ForwardedFor]
    """Who calls over a connection: its leader asks about a call that this node passes on."""
    folder: AdminFolder
    clients: Callable[[], Sequence[ConnectedClients]]
    """Who is connected to the client address, by version."""
    maintenance: AdminMaintenance
    requests: RequestRing
    """The last calls of clients."""
