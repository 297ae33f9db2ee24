"""The backup store of a cluster, through one of its nodes."""

from dataclasses import dataclass
from datetime import timedelta

from amaters.admin.cluster import SnapshotInfo, StoreCredentials
from amaters.errors import RefusedError

from amaters_operator.database.port import BackupAdmin
from amaters_operator.decisions.backup import retention
from amaters_operator.decisions.backup.retention import StoredBackup


@dataclass(frozen=True, slots=True)
class BackupStore:
    """The configured destination of one cluster. Failures are those of `amaters.errors`."""

    admin: BackupAdmin
    keys: StoreCredentials | None
    own: str
    """The cluster's id: only backups with this id are its own."""

    async def backups(self) -> tuple[SnapshotInfo, ...]:
        """Return the backups of every cluster, oldest first."""
        return await self.admin.list_snapshots(remote=True, every_cluster=True, keys=self.keys)

    async def make(self, timeout: timedelta) -> SnapshotInfo:
        """Make a backup."""
        return await self.admin.create_snapshot(upload=True, timeout=timeout, keys=self.keys)

    async def prune(self, there: tuple[SnapshotInfo, ...], *, keep: int, never: str) -> list[str]:
        """Delete surplus backups of this cluster; return their URIs."""
        surplus = retention.surplus(stored_backups(there), own=self.own, keep=keep, never=never)
        for gone in surplus:
            await self.admin.delete_snapshot(uri=gone.uri, keys=self.keys)
        return [one.uri for one in surplus]


def stored_backups(there: tuple[SnapshotInfo, ...]) -> list[StoredBackup]:
    """Return what decisions need of backups."""
    return [StoredBackup(one.id, one.uri, one.cluster_id) for one in there]


def verify_stored(made: SnapshotInfo, there: tuple[SnapshotInfo, ...]) -> None:
    """Raise RefusedError unless the store has the backup in its full size."""
    stored = next((one for one in there if one.uri == made.uri), None)
    if stored is None or stored.size_bytes != made.size_bytes:
        what = (
            "is not in the store"
            if stored is None
            else f"has {stored.size_bytes} bytes in the store"
        )
        raise RefusedError(f"{made.uri} was made with {made.size_bytes} bytes and {what}")
