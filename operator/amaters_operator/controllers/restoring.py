"""Load the backup that a new cluster starts with."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from amaters.cluster import StoreCredentials
from amaters.errors import AmatersError, ConfigurationError
from amaters.tls import TlsMaterial

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.status import BootstrapStatus
from amaters_operator.controllers import nodes
from amaters_operator.controllers.store_keys import store_keys
from amaters_operator.controllers.telling import Teller
from amaters_operator.database.port import Admin, Database
from amaters_operator.decisions.moves import Restore
from amaters_operator.decisions.seen import Seen
from amaters_operator.kube.port import KubeApi

_PATIENCE = timedelta(seconds=20)
_LONGEST = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Restorer:
    """Has the leader load a backup, and records that it began before it begins."""

    kube: KubeApi
    database: Database
    teller: Teller

    async def load(
        self,
        move: Restore,
        cluster: AmatersCluster,
        record: BootstrapStatus,
        seen: Seen,
        tls: TlsMaterial | None,
    ) -> BootstrapStatus:
        """Return the record of the beginning as it stands after the attempt."""
        leader = seen.leader()
        pod = seen.pod(leader.ordinal) if leader is not None else None
        if pod is None:
            return record
        # From here on a crash means that half of the data may be there: remember that first.
        begun = record.model_copy(update={"restore_started": _text(seen.now)})
        await self.teller.status(cluster, cluster.status.model_copy(update={"bootstrap": begun}))
        if not begun.restore_error:
            await self.teller.event(cluster, "Restore", str(move))
        try:
            address = nodes.address(cluster, pod)
            credentials = await self._credentials(cluster)
            async with self.database.admin(address, tls, timeout=_PATIENCE) as admin:
                keys = await _loaded(admin, move, credentials)
        except AmatersError as error:
            return await self._failed(cluster, begun, str(error))
        await self.teller.event(cluster, "Restored", f"{keys} records from {move.uri}")
        return begun.model_copy(
            update={
                "restored_from": move.uri,
                "restored_keys": keys,
                "restore_error": "",
                "restore_failed": None,
                "restore_failures": 0,
                "restore_failed_with": "",
            }
        )

    async def given(self, cluster: AmatersCluster) -> str:
        """Return what an attempt would be made with: it differs once something was corrected."""
        found = await store_keys(self.kube, cluster)
        return f"{cluster.metadata.generation}/{found.version}"

    async def _failed(
        self, cluster: AmatersCluster, begun: BootstrapStatus, why: str
    ) -> BootstrapStatus:
        """Record the failure; an event tells it once, however often it repeats."""
        given = await self.given(cluster)
        repeated = given == begun.restore_failed_with
        await self.teller.event(cluster, "RestoreFailed", why, kind="Warning")
        return begun.model_copy(
            update={
                "restore_error": why,
                "restore_failed": _text(self.kube.now()),
                "restore_failures": begun.restore_failures + 1 if repeated else 1,
                "restore_failed_with": given,
            }
        )

    async def _credentials(self, cluster: AmatersCluster) -> StoreCredentials | None:
        """Return the keys of the store as their Secret has them now."""
        found = await store_keys(self.kube, cluster)
        if found.problem:
            raise ConfigurationError(found.problem)
        return found.keys


async def _loaded(admin: Admin, move: Restore, credentials: StoreCredentials | None) -> int:
    keys = 0
    loading = admin.restore_snapshot(
        move.uri, replace=move.replace, timeout=_LONGEST, keys=credentials
    )
    async for progress in loading:
        keys = progress.keys_restored
    return keys


def _text(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
