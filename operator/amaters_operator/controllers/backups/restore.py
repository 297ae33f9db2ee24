"""One pass over the start of one AmatersCluster: load the backup that it starts with.

It runs beside the cluster's own controller, because a load may take hours, and writes only
`status.restore`. A load ends with the operator that requested it, and the next operator starts it
again. A correction while a load runs ends it, too.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from amaters.errors import AmatersError, ConfigurationError

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.status import BootstrapStatus, RestoreStatus
from amaters_operator.controllers.access.accesses import Accesses
from amaters_operator.controllers.held_back import good_settings
from amaters_operator.controllers.login_secrets import login_secrets
from amaters_operator.controllers.observing.observer import Observer
from amaters_operator.controllers.pass_context import (
    InvalidCluster,
    Nodes,
    beside_cluster,
    fetch_cluster,
)
from amaters_operator.controllers.reporting import Reporter
from amaters_operator.controllers.secrets import StoreKeys, inputs_of, store_keys, tls_secret
from amaters_operator.database.port import Database
from amaters_operator.decisions import bootstrap
from amaters_operator.decisions.actions import Restore, Wait
from amaters_operator.decisions.observation import Pod
from amaters_operator.kube.errors import KubeError
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import config

_DONE = timedelta(minutes=10)
"""Nothing is to be loaded until the spec changes, and a watch notices that."""
_SOON = timedelta(seconds=2)
_AGAIN = timedelta(seconds=0.5)
_TIMEOUT = timedelta(seconds=20)
_LONGEST = timedelta(hours=6)

LOOK_SECONDS = 5.0
"""How often a running load is compared with the spec."""
REPORT_EVERY = timedelta(seconds=15)
"""How often the status says how far a load is."""


@dataclass(frozen=True, slots=True)
class RestoreJob:
    """A backup that is loaded now."""

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
        """Make one pass; return when the next is due, or None when the cluster is gone."""
        return await beside_cluster(self._kube, namespace, name, self._pass)

    async def _pass(self, cluster: AmatersCluster) -> timedelta:
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
            return _DONE if action is None else _SOON
        secret = await tls_secret(self._kube, cluster)
        nodes = Nodes(self._database, cluster, secret.tls, secret.admin)
        pod = await self._restore_pod(nodes)
        if isinstance(pod, Wait):
            waits = status.model_copy(update={"waiting": str(pod)})
            await self._reporter.restore(cluster, waits)
            return _SOON
        await self._attempt(RestoreJob(cluster, action, status, keys, nodes, pod))
        return _AGAIN

    async def _restore_pod(self, nodes: Nodes) -> Pod | Wait:
        """Return the pod that loads the backup, or what it waits for."""
        cluster = nodes.cluster
        record = cluster.status.bootstrap or BootstrapStatus()
        logins = await login_secrets(self._kube, cluster)
        granted = await Accesses(self._kube).grants(cluster)
        files = config.digests(
            cluster,
            record.initial_members,
            logins.versions,
            granted,
            held=good_settings(cluster),
        )
        return bootstrap.restore_pod(await self._observer.observe(nodes), files)

    async def _attempt(self, job: RestoreJob) -> None:
        """Load the backup, unless that fails or its inputs are corrected while it runs."""
        now = self._kube.now()
        # From here on a crash may leave half of the data: record that first.
        started = job.status.model_copy(
            update={"started": now, "waiting": "", "keys": 0, "total": 0}
        )
        await self._reporter.restore(job.cluster, started)
        if not started.error:
            await self._reporter.event(job.cluster, "Restore", str(job.action))
        try:
            async with asyncio.timeout(None) as attempt, self._watched(job, attempt):
                done = await self._load(job, started)
        except TimeoutError:
            text = "the source or the credentials were corrected: the load starts again"
            await self._reporter.event(job.cluster, "RestoreCorrected", text)
        except AmatersError as error:
            await self._failed(job, started, str(error))
        else:
            await self._reporter.restore(job.cluster, done)
            note = f"{done.keys} records from {job.action.uri}"
            await self._reporter.event(job.cluster, "Restored", note)

    async def _load(self, job: RestoreJob, started: RestoreStatus) -> RestoreStatus:
        """Let a node load the backup; return the status once it has."""
        if job.keys.problem:
            raise ConfigurationError(job.keys.problem)
        reported, keys = self._kube.now(), 0
        async with job.nodes.admin(job.pod, timeout=_TIMEOUT) as admin:
            loading = admin.restore_snapshot(
                job.action.uri, replace=job.action.replace, timeout=_LONGEST, keys=job.keys.keys
            )
            async for progress in loading:
                keys, now = progress.keys_restored, self._kube.now()
                if not progress.done and now - reported >= REPORT_EVERY:
                    reported = now
                    update = {"keys": keys, "total": progress.keys_total}
                    await self._reporter.restore(job.cluster, started.model_copy(update=update))
        return RestoreStatus(
            started=started.started, loaded_from=job.action.uri, keys=keys, total=keys
        )

    @asynccontextmanager
    async def _watched(self, job: RestoreJob, attempt: asyncio.Timeout) -> AsyncIterator[None]:
        """End the attempt once the spec no longer asks for it."""
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
        """Return once the source, the store or the keys change, or the cluster is gone."""
        inputs = _inputs(job.cluster, job.keys)
        place = job.cluster.namespace, job.cluster.name
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                cluster = await fetch_cluster(self._kube, *place)
                if isinstance(cluster, InvalidCluster):
                    continue
                if cluster is None or cluster.metadata.uid != job.cluster.metadata.uid:
                    return
                if _inputs(cluster, await store_keys(self._kube, cluster)) != inputs:
                    return
            except KubeError:
                continue  # nothing is known now; a running load must not suffer from it

    async def _failed(self, job: RestoreJob, started: RestoreStatus, why: str) -> None:
        """Record the failure; one event reports it, however often it repeats."""
        inputs = inputs_of(job.cluster, job.keys)
        repeated = inputs == started.failed_with
        await self._reporter.event(job.cluster, "RestoreFailed", why, kind="Warning")
        update = {
            "error": why,
            "failed": self._kube.now(),
            "failures": started.failures + 1 if repeated else 1,
            "failed_with": inputs,
        }
        await self._reporter.restore(job.cluster, started.model_copy(update=update))


def _inputs(cluster: AmatersCluster, keys: StoreKeys) -> tuple[object, ...]:
    """Return what a running load depends on; the rest of the spec may change."""
    return cluster.spec.bootstrap, cluster.spec.backup, keys.version
