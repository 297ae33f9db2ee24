"""One pass over the beginning of one AmatersCluster: load the backup that it starts with.

It runs beside the cluster's own controller, because a load may take hours, and writes
`status.restore` and nothing else. A load ends with the operator that asked for it; the next one
begins it again. What is corrected while a load runs ends it, too.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from amaters.errors import AmatersError, ConfigurationError

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.status import BootstrapStatus, RestoreStatus
from amaters_operator.controllers.observing.observer import Observer
from amaters_operator.controllers.pass_context import InvalidCluster, Nodes, fetch_cluster
from amaters_operator.controllers.reporting import Reporter
from amaters_operator.controllers.secrets import StoreKeys, inputs_of, store_keys, tls_secret
from amaters_operator.database.port import Database
from amaters_operator.decisions import bootstrap
from amaters_operator.decisions.actions import Restore, Wait
from amaters_operator.decisions.observation import Pod
from amaters_operator.kube import kinds
from amaters_operator.kube.errors import KubeError
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import Shape, config

_AT_REST = timedelta(seconds=30)
_SOON = timedelta(seconds=2)
_AGAIN = timedelta(seconds=0.5)
_TIMEOUT = timedelta(seconds=20)
_LONGEST = timedelta(hours=6)

LOOK_SECONDS = 5.0
"""How often a load that runs is compared with what it is to be."""
REPORT_EVERY = timedelta(seconds=15)
"""How often the status says how far a load is."""


@dataclass(frozen=True, slots=True)
class RestoreJob:
    """A backup that is to be loaded now."""

    cluster: AmatersCluster
    action: Restore
    status: RestoreStatus
    keys: StoreKeys
    nodes: Nodes
    pod: Pod


class RestoreController:
    """Loads the backup that a new cluster starts with."""

    def __init__(self, kube: KubeApi, database: Database, *, instance: str) -> None:
        self._kube = kube
        self._database = database
        self._observer = Observer(kube)
        self._reporter = Reporter(kube, instance)

    async def reconcile(self, namespace: str, name: str) -> timedelta | None:
        """Make one pass; return when to look again, or None when the cluster is gone."""
        cluster = await fetch_cluster(self._kube, namespace, name)
        if cluster is None:
            return None
        if isinstance(cluster, InvalidCluster):
            return _AT_REST  # the cluster's own controller says so
        status = cluster.status.restore or RestoreStatus()
        keys = await store_keys(self._kube, cluster)
        action = bootstrap.next_restore(
            cluster.spec.bootstrap,
            cluster.status.bootstrap or BootstrapStatus(),
            status,
            inputs=inputs_of(cluster, keys),
            now=self._kube.now(),
        )
        if not isinstance(action, Restore):
            return _AT_REST if action is None else _SOON
        nodes = Nodes(self._database, cluster, (await tls_secret(self._kube, cluster)).tls)
        pod = await self._restore_pod(nodes)
        if isinstance(pod, Wait):
            waits = status.model_copy(update={"waiting": str(pod)})
            await self._reporter.restore(cluster, waits)
            return _SOON
        await self._attempt(RestoreJob(cluster, action, status, keys, nodes, pod))
        return _AGAIN

    async def _restore_pod(self, nodes: Nodes) -> Pod | Wait:
        """Return the pod that is to load the backup, or what is to be waited for."""
        cluster = nodes.cluster
        record = cluster.status.bootstrap or BootstrapStatus()
        statefulset = await self._kube.get(kinds.STATEFUL_SET, cluster.namespace, cluster.name)
        observed = await self._observer.look(nodes, statefulset)
        shape = Shape(1, tuple(record.initial_members), formed=True, volume_size="")
        return bootstrap.restore_pod(observed, config.digests(cluster, shape))

    async def _attempt(self, job: RestoreJob) -> None:
        """Load the backup, unless that fails or what it is made with is corrected meanwhile."""
        now = self._kube.now()
        # From here on a crash means that half of the data may be there: remember that first.
        begun = job.status.model_copy(update={"started": now, "waiting": "", "keys": 0, "total": 0})
        await self._reporter.restore(job.cluster, begun)
        if not begun.error:
            await self._reporter.event(job.cluster, "Restore", str(job.action))
        try:
            async with asyncio.timeout(None) as attempt, self._watched(job, attempt):
                done = await self._load(job, begun)
        except TimeoutError:
            text = "what the backup is loaded with was changed: the load is begun again"
            await self._reporter.event(job.cluster, "RestoreCorrected", text)
        except AmatersError as error:
            await self._failed(job, begun, str(error))
        else:
            await self._reporter.restore(job.cluster, done)
            note = f"{done.keys} records from {job.action.uri}"
            await self._reporter.event(job.cluster, "Restored", note)

    async def _load(self, job: RestoreJob, begun: RestoreStatus) -> RestoreStatus:
        """Have a node load the backup; return the status once it has."""
        if job.keys.problem:
            raise ConfigurationError(job.keys.problem)
        told, keys = self._kube.now(), 0
        async with job.nodes.admin(job.pod, timeout=_TIMEOUT) as admin:
            loading = admin.restore_snapshot(
                job.action.uri, replace=job.action.replace, timeout=_LONGEST, keys=job.keys.keys
            )
            async for far in loading:
                keys, now = far.keys_restored, self._kube.now()
                if not far.done and now - told >= REPORT_EVERY:
                    told = now
                    update = {"keys": keys, "total": far.keys_total}
                    await self._reporter.restore(job.cluster, begun.model_copy(update=update))
        return RestoreStatus(
            started=begun.started, loaded_from=job.action.uri, keys=keys, total=keys
        )

    @asynccontextmanager
    async def _watched(self, job: RestoreJob, attempt: asyncio.Timeout) -> AsyncIterator[None]:
        """End the attempt once it is not what is wished any more."""
        watching = asyncio.create_task(self._until_corrected(job), name="restore's spec")

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                attempt.reschedule(0)

        watching.add_done_callback(ended)
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _until_corrected(self, job: RestoreJob) -> None:
        """Return once the source, the place or the keys are others, or the cluster is gone."""
        made_with = _made_with(job.cluster, job.keys)
        place = job.cluster.namespace, job.cluster.name
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                cluster = await fetch_cluster(self._kube, *place)
                if isinstance(cluster, InvalidCluster):
                    continue
                if cluster is None or cluster.metadata.uid != job.cluster.metadata.uid:
                    return
                if _made_with(cluster, await store_keys(self._kube, cluster)) != made_with:
                    return
            except KubeError:
                continue  # nothing is known now; a load that goes well must not suffer from it

    async def _failed(self, job: RestoreJob, begun: RestoreStatus, why: str) -> None:
        """Record the failure; an event tells it once, however often it repeats."""
        inputs = inputs_of(job.cluster, job.keys)
        repeated = inputs == begun.failed_with
        await self._reporter.event(job.cluster, "RestoreFailed", why, kind="Warning")
        update = {
            "error": why,
            "failed": self._kube.now(),
            "failures": begun.failures + 1 if repeated else 1,
            "failed_with": inputs,
        }
        await self._reporter.restore(job.cluster, begun.model_copy(update=update))


def _made_with(cluster: AmatersCluster, keys: StoreKeys) -> tuple[object, ...]:
    """Return what a load that runs depends on; the rest of the spec may change meanwhile."""
    return cluster.spec.bootstrap, cluster.spec.backup, keys.version
