"""What the operator needs of the database. `client` and the test kit implement it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from amaters.admin.cluster import (
    ClusterMembers,
    Leadership,
    MemberInfo,
    NodeStatus,
    ReloadReport,
    RestoreProgress,
    SnapshotInfo,
    StoreCredentials,
)
from amaters.transport.tls import TlsMaterial


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node is reached, and the name that its certificate must have."""

    ip: str
    host: str
    peer_port: int
    client_port: int


class NodeQueries(Protocol):
    """What a node reports of itself and its cluster, and its reload."""

    async def status(self) -> NodeStatus:
        """Return the node's own status."""

    async def members(self, *, from_leader: bool = True) -> ClusterMembers:
        """List the members, as the leader knows them."""

    async def reload(self) -> ReloadReport:
        """Make the node reload its configuration and certificates."""


class MembershipAdmin(Protocol):
    """Membership changes; each returns once it is committed."""

    async def add_member(
        self, *, peer_address: str, client_address: str, name: str = ""
    ) -> MemberInfo:
        """Add a learner."""

    async def promote_member(self, member_id: int) -> MemberInfo:
        """Make a learner a voter."""

    async def remove_member(self, member_id: int) -> ClusterMembers:
        """Remove a member for good."""

    async def set_aside(self, member_id: int, *, cluster_id: str) -> None:
        """Have the node set aside what it stored as this removed member, and restart empty."""

    async def discard_set_aside(self, member_id: int) -> None:
        """Delete for good what that removed member has left on the node's disk."""

    async def set_fenced(self, fenced: bool) -> None:  # noqa: FBT001 - it says what it sets
        """Keep the node from being ready and from leading, or no longer."""

    async def transfer_leadership(self, to: int | None = None) -> Leadership:
        """Transfer leadership and wait until a quorum confirms it."""


class BackupAdmin(Protocol):
    """Backups, which a node makes, lists, deletes and loads with the given keys."""

    async def create_snapshot(
        self,
        *,
        upload: bool = False,
        destination: str = "",
        timeout: timedelta = ...,
        keys: StoreCredentials | None = None,
    ) -> SnapshotInfo:
        """Write a snapshot and upload it."""

    async def list_snapshots(
        self,
        *,
        remote: bool = False,
        destination: str = "",
        every_cluster: bool = False,
        keys: StoreCredentials | None = None,
    ) -> tuple[SnapshotInfo, ...]:
        """List snapshots, oldest first: of a store those of this cluster, or of every one."""

    async def delete_snapshot(
        self, snapshot_id: int = 0, *, uri: str = "", keys: StoreCredentials | None = None
    ) -> None:
        """Delete a snapshot."""

    def restore_snapshot(
        self,
        uri: str,
        *,
        replace: bool = False,
        timeout: timedelta = ...,
        keys: StoreCredentials | None = None,
    ) -> AsyncIterator[RestoreProgress]:
        """Load a snapshot into the cluster, and report its progress."""


class Admin(NodeQueries, MembershipAdmin, BackupAdmin, Protocol):
    """One node's admin service. Failures are those of `amaters.errors`."""


class Database(Protocol):
    """The nodes of any cluster, by address."""

    def admin(
        self, node: NodeAddress, tls: TlsMaterial | None, *, timeout: timedelta
    ) -> AbstractAsyncContextManager[Admin]:
        """Return the node's admin service; calls end within `timeout`, connecting included."""

    async def served_serials(
        self, node: NodeAddress, tls: TlsMaterial, *, timeout: timedelta
    ) -> tuple[str, ...] | None:
        """Return the serials that the node's two listeners show in a handshake.

        None when a handshake does not succeed.
        """
