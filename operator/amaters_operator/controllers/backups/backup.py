"""One pass over the backups of one AmatersCluster: make one if it is due, record it, delete old ones.

It runs beside the cluster's own controller, because a backup may take long, and writes only
`status.backup`. Backups of one cluster never overlap: passes are sequential, and an interrupted
backup is looked up in the store before another is made.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from amaters.admin.cluster import SnapshotInfo
from amaters.errors import AmatersError

from amaters_operator.api.cluster import BACKUP_ANNOTATION, AmatersCluster
from amaters_operator.api.spec import BackupSpec
from amaters_operator.api.status import BackupStatus
from amaters_operator.controllers.access.accesses import Accesses
from amaters_operator.controllers.backups import backup_records as records
from amaters_operator.controllers.backups.backup_store import (
    BackupStore,
    stored_backups,
    verify_stored,
)
from amaters_operator.controllers.held_back import good_settings
from amaters_operator.controllers.login_secrets import login_secrets
from amaters_operator.controllers.observing.observer import Observer
from amaters_operator.controllers.pass_context import Nodes, beside_cluster
from amaters_operator.controllers.reporting import Reporter
from amaters_operator.controllers.secrets import StoreKeys, inputs_of, store_keys, tls_secret
from amaters_operator.database.port import Database
from amaters_operator.decisions.backup import retention, schedule
from amaters_operator.decisions.backup.schedule import (
    BackupRequest,
    DueBackup,
)
from amaters_operator.decisions.cron import InvalidScheduleError
from amaters_operator.decisions.observation import Pod
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import config

_AT_REST = timedelta(seconds=30)
_NOT_DUE = timedelta(minutes=10)
"""A request or another schedule is noticed by a watch; a failed backup also needs its Secret."""
_SOON = timedelta(seconds=5)
_TIMEOUT = timedelta(seconds=30)
_LONGEST = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class BackupJob:
    """A backup that is made now."""

    cluster: AmatersCluster
    spec: BackupSpec
    status: BackupStatus
    due: DueBackup
    asked: BackupRequest
    keys: StoreKeys
    started_at: datetime


class BackupController:
    """Makes backups when they are due."""

    def __init__(self, kube: KubeApi, database: Database, *, instance: str) -> None:
        self._kube = kube
        self._database = database
        self._observer = Observer(kube)
        self._reporter = Reporter(kube, instance)

    async def reconcile(self, namespace: str, name: str) -> timedelta | None:
        """Make one pass; return when the next is due, or None when the cluster is gone."""
        return await beside_cluster(self._kube, namespace, name, self._pass)

    async def _pass(self, cluster: AmatersCluster) -> timedelta:
        if cluster.spec.backup is None:
            await self._refuse(cluster)
            return _NOT_DUE
        return await self._next(cluster, cluster.spec.backup)

    async def _refuse(self, cluster: AmatersCluster) -> None:
        """Refuse, by an event, a backup that has no destination."""
        status, token = cluster.status.backup or BackupStatus(), _token(cluster)
        if not token or token in (status.refused_token, status.last_token):
            return
        note = f"no backup is made for {token!r}: set spec.backup"
        await self._reporter.event(cluster, "BackupRefused", note, kind="Warning")
        refused = status.model_copy(update={"refused_token": token})
        await self._reporter.backup(cluster, refused)

    async def _next(self, cluster: AmatersCluster, spec: BackupSpec) -> timedelta:
        status = cluster.status.backup or BackupStatus()
        now, keys = self._kube.now(), await store_keys(self._kube, cluster)
        inputs = inputs_of(cluster, keys)
        asked = BackupRequest(spec.schedule, spec.time_zone, _token(cluster), inputs)
        try:
            due = schedule.due(records.history(cluster, status, now), asked, now=now)
            following = (
                schedule.next_time(spec.schedule, spec.time_zone, now) if spec.schedule else None
            )
        except InvalidScheduleError as error:
            update = {"failure": str(error), "next": None}
            await self._reporter.backup(cluster, status.model_copy(update=update))
            return _AT_REST
        status = status.model_copy(update={"next": following, "waiting": ""})
        if due is None:
            await self._reporter.backup(cluster, status)
            longest = _AT_REST if status.failure else _NOT_DUE
            wait = longest if following is None else following - now
            return min(max(wait, timedelta(seconds=1)), longest)
        return await self._start(BackupJob(cluster, spec, status, due, asked, keys, now))

    async def _start(self, job: BackupJob) -> timedelta:
        secret = await tls_secret(self._kube, job.cluster)
        nodes = Nodes(self._database, job.cluster, secret.tls, secret.admin)
        backup_pod = await self._backup_pod(nodes)
        if isinstance(backup_pod, str):
            waits = job.status.model_copy(update={"waiting": backup_pod})
            await self._reporter.backup(job.cluster, waits)
            return _SOON
        if job.keys.problem:
            await self._failed(job, job.keys.problem)
            return timedelta(seconds=1)
        try:
            await self._make(job, nodes, backup_pod)
        except AmatersError as error:
            await self._failed(job, f"by {backup_pod.name}: {error}")
        return timedelta(seconds=1)

    async def _make(self, job: BackupJob, nodes: Nodes, backup_pod: Pod) -> None:
        own = _cluster_id(job.cluster)
        async with nodes.admin(backup_pod, timeout=_TIMEOUT) as admin:
            store = BackupStore(admin, job.keys.keys, own)
            before = await store.backups()
            started = job.status if job.status.running_since else None
            made = _finished(started, before, own)
            if made is None:
                above = retention.newest(stored_backups(before), own)
                running = started or records.running(job.status, job.started_at, above)
                await self._reporter.backup(job.cluster, running)
                made = await store.make(_LONGEST)
            there = await store.backups()
            verify_stored(made, there)
            done = await self._succeeded(job, backup_pod, made, there)
            await self._retain(job, done, store, there)

    async def _backup_pod(self, nodes: Nodes) -> Pod | str:
        """Return the pod that makes the backup, or what it waits for."""
        cluster = nodes.cluster
        record = cluster.status.bootstrap
        if record is None or not record.cluster_id:
            return "the cluster has not formed yet"
        if cluster.spec.bootstrap is not None and not record.restored_from:
            return f"{cluster.spec.bootstrap.restore_from} is not loaded yet"
        observed = await self._observer.observe(nodes)
        logins = await login_secrets(self._kube, cluster)
        granted = await Accesses(self._kube).grants(cluster)
        files = config.digests(
            cluster,
            record.initial_members,
            logins.versions,
            granted,
            held=good_settings(cluster),
        )
        ordinal = schedule.backup_pod(observed, files)
        pod = None if ordinal is None else observed.pod(ordinal)
        return pod or (
            "no member that takes part has the newest configuration, which reaches the pods within "
            "about a minute"
        )

    async def _succeeded(
        self, job: BackupJob, backup_pod: Pod, made: SnapshotInfo, there: tuple[SnapshotInfo, ...]
    ) -> BackupStatus:
        now = self._kube.now()
        record = records.record(
            made, job.due, backup_pod.name, completed=now, started_at=job.started_at
        )
        strangers = retention.others(stored_backups(there), _cluster_id(job.cluster))
        done = records.succeeded(job.status, job.due, record, strangers)
        await self._reporter.backup(job.cluster, done)
        note = (
            f"{made.uri}: {made.key_count} records, {made.size_bytes} bytes, by {backup_pod.name}"
        )
        await self._reporter.event(job.cluster, "BackupDone", note)
        if set(strangers) - set(job.status.others):
            await self._reporter.event(
                job.cluster, "BackupPlaceShared", retention.shared(strangers), kind="Warning"
            )
        return done

    async def _retain(
        self,
        job: BackupJob,
        done: BackupStatus,
        store: BackupStore,
        there: tuple[SnapshotInfo, ...],
    ) -> None:
        """Delete surplus backups of this cluster; a failure costs only space, and is reported."""
        never = done.last.uri if done.last is not None else ""
        try:
            gone = await store.prune(there, keep=job.spec.retention.count, never=never)
        except AmatersError as error:
            note = f"old backups stay: {error}"
            await self._reporter.event(job.cluster, "RetentionFailed", note, kind="Warning")
            return
        for uri in gone:
            await self._reporter.event(job.cluster, "BackupDeleted", f"{uri}: retention")
        own = sum(one.cluster_id == store.own for one in there)
        kept = done.model_copy(update={"kept": own - len(gone)})
        await self._reporter.backup(job.cluster, kept)

    async def _failed(self, job: BackupJob, why: str) -> None:
        failed = records.failed(job.status, job.due, job.asked, why, at=self._kube.now())
        await self._reporter.backup(job.cluster, failed)
        note = f"requested by {job.due.token!r}: {why}" if job.due.token else why
        await self._reporter.event(job.cluster, "BackupFailed", note, kind="Warning")


def _token(cluster: AmatersCluster) -> str:
    return cluster.metadata.annotations.get(BACKUP_ANNOTATION, "")


def _cluster_id(cluster: AmatersCluster) -> str:
    record = cluster.status.bootstrap
    return "" if record is None else record.cluster_id


def _finished(
    started: BackupStatus | None, there: tuple[SnapshotInfo, ...], own: str
) -> SnapshotInfo | None:
    """Return the backup that an earlier operator started and a node finished, if there is one.

    Its id distinguishes it from earlier ones, not the clock of the machine that made it.
    """
    if started is None or started.running_above is None:
        return None
    above = started.running_above
    finished = [one for one in there if one.cluster_id == own and one.id > above]
    return max(finished, key=lambda one: one.id, default=None)
