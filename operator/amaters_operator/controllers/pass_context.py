"""What every pass starts from: the AmatersCluster, and a way to its nodes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from amaters.errors import AccessDeniedError
from amaters.transport.tls import TlsMaterial
from pydantic import ValidationError

from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.status import BootstrapStatus
from amaters_operator.database.port import Admin, Database, NodeAddress
from amaters_operator.decisions import bootstrap
from amaters_operator.decisions.observation import Pod
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest

_HELD = timedelta(seconds=30)
"""A watch notices when the cluster is held no longer."""


@dataclass(frozen=True, slots=True)
class InvalidCluster:
    """An object that the API server accepted and this operator cannot read."""

    raw: Manifest
    error: ValidationError


async def fetch_cluster(
    kube: KubeApi, namespace: str, name: str
) -> AmatersCluster | InvalidCluster | None:
    """Return the AmatersCluster; None when it is gone or being deleted."""
    raw = await kube.get(kinds.CLUSTER, namespace, name)
    if raw is None or "deletionTimestamp" in raw["metadata"]:
        return None
    try:
        return AmatersCluster.model_validate(raw)
    except ValidationError as error:
        return InvalidCluster(raw, error)


async def beside_cluster(
    kube: KubeApi,
    namespace: str,
    name: str,
    work: Callable[[AmatersCluster], Awaitable[timedelta]],
) -> timedelta | None:
    """Do what runs beside ClusterController; return when it is due again, None without a cluster.

    Nothing is done for a cluster that is held, or that ClusterController reports as invalid.
    """
    cluster = await fetch_cluster(kube, namespace, name)
    if cluster is None:
        return None
    if isinstance(cluster, InvalidCluster) or cluster.spec.paused or cluster.spec.hibernate:
        return _HELD
    return await work(cluster)


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of one cluster, reached with the certificates that Secrets hold in this pass."""

    database: Database
    cluster: AmatersCluster
    tls: TlsMaterial | None
    """The nodes' own certificate."""
    own: TlsMaterial | None = None
    """The operator's; None: it shows that of the nodes."""

    def admin(self, pod: Pod, *, timeout: timedelta) -> AbstractAsyncContextManager[Admin]:
        """Return the admin service of the pod's node; calls end within `timeout`."""
        if self.own is not None:
            return self._as_administrator(pod, self.own, timeout)
        return self.database.admin(self._address(pod), self.tls, timeout=timeout)

    @asynccontextmanager
    async def _as_administrator(
        self, pod: Pod, own: TlsMaterial, timeout: timedelta
    ) -> AsyncIterator[Admin]:
        """Show the operator's certificate, and that of the nodes to one that does not know it.

        Nodes do not while they have not restarted since `spec.tls.adminSecretName` was set.
        """
        address = self._address(pod)
        async with self.database.admin(address, own, timeout=timeout) as admin:
            if await _is_administrator(admin):
                yield admin
                return
        async with self.database.admin(address, self.tls, timeout=timeout) as admin:
            yield admin

    async def served_serials(self, pod: Pod, *, timeout: timedelta) -> tuple[str, ...] | None:
        """Return the serials that the node's listeners prove to own; None when one does not."""
        if self.tls is None:
            return None
        return await self.database.served_serials(self._address(pod), self.tls, timeout=timeout)

    def _address(self, pod: Pod) -> NodeAddress:
        # By IP: names in DNS may lag behind a new pod.
        host = names.host(self.cluster, pod.ordinal)
        return NodeAddress(pod.ip, host, names.PEER_PORT, names.CLIENT_PORT)


async def _is_administrator(admin: Admin) -> bool:
    try:
        await admin.status()
    except AccessDeniedError:
        return False
    return True


async def bootstrap_record(kube: KubeApi, cluster: AmatersCluster) -> BootstrapStatus:
    """Return how the cluster started: by the status, else the ConfigMap, else a first record.

    The ConfigMap is applied before the first pod exists, so no crash can lose it.
    """
    recorded = cluster.status.bootstrap
    in_config_map = None
    if recorded is None or not recorded.initial_members:
        in_config_map = await _members_in_config_map(kube, cluster)
    return bootstrap.record(
        recorded, desired=manifests.initial_members(cluster), in_config_map=in_config_map
    )


async def _members_in_config_map(kube: KubeApi, cluster: AmatersCluster) -> tuple[str, ...] | None:
    """Return the initial members that an existing ConfigMap names."""
    existing = await kube.get(kinds.CONFIG_MAP, cluster.namespace, names.config_map(cluster))
    notes = ((existing or {}).get("metadata") or {}).get("annotations") or {}
    text = notes.get(names.INITIAL_MEMBERS_ANNOTATION, "")
    return tuple(text.split(",")) if text else None
