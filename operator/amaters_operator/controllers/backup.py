"""One pass over the backups of one AmatersCluster: due? make one, record it, drop old ones.

It runs beside the cluster's own controller, because a backup may take long; it writes
`status.backup` and nothing else. Backups of one cluster never overlap: passes follow each other,
and one that was interrupted is looked for in the store before another is made.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from amaters.cluster import SnapshotInfo
from amaters.errors import AmatersError
from amaters.tls import TlsMaterial
from pydantic import ValidationError

from amaters_operator.api.cluster import BACKUP_ANNOTATION, AmatersCluster
from amaters_operator.api.spec import BackupSpec
from amaters_operator.api.status import BackupRecord, BackupStatus
from amaters_operator.controllers import nodes
from amaters_operator.controllers.certificates import Rotation
from amaters_operator.controllers.observing import Observer
from amaters_operator.controllers.telling import Teller
from amaters_operator.database.port import Admin, Database
from amaters_operator.decisions import backup_schedule, retention
from amaters_operator.decisions.backup_schedule import Due, History, InvalidScheduleError
from amaters_operator.decisions.seen import Pod
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi

_AT_REST = timedelta(seconds=30)
_SOON = timedelta(seconds=5)
_PATIENCE = timedelta(seconds=30)
_LONGEST = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Job:
    """A backup that is to be made now."""

    cluster: AmatersCluster
    spec: BackupSpec
    status: BackupStatus
    due: Due
    began: datetime


class BackupController:
    """Makes backups when they are due."""

    def __init__(self, kube: KubeApi, database: Database, *, instance: str) -> None:
        self._kube = kube
        self._database = database
        self._observer = Observer(kube, database)
        self._rotation = Rotation(kube, database)
        self._teller = Teller(kube, instance)

    async def reconcile(self, namespace: str, name: str) -> timedelta | None:
        """Make one pass; return when to look again, or None when the cluster is gone."""
        raw = await self._kube.get(kinds.CLUSTER, namespace, name)
        if raw is None or "deletionTimestamp" in raw["metadata"]:
            return None
        try:
            cluster = AmatersCluster.model_validate(raw)
        except ValidationError:
            return _AT_REST  # the cluster's own controller says so
        if cluster.spec.backup is None or not _may_back_up(cluster):
            return _AT_REST
        return await self._next(cluster, cluster.spec.backup)

    async def _next(self, cluster: AmatersCluster, spec: BackupSpec) -> timedelta:
        status = cluster.status.backup or BackupStatus()
        now = self._kube.now()
        try:
            due = _due(cluster, spec, status, now)
            following = (
                backup_schedule.next_time(spec.schedule, spec.time_zone, now)
                if spec.schedule
                else None
            )
        except InvalidScheduleError as error:
            update = {"failure": str(error), "next": None}
            await self._teller.backup(cluster, status.model_copy(update=update))
            return _AT_REST
        status = status.model_copy(update={"next": _text(following)})
        if due is None:
            await self._teller.backup(cluster, status)
            wait = _AT_REST if following is None else following - now
            return min(max(wait, timedelta(seconds=1)), _AT_REST)
        return await self._make(Job(cluster, spec, status, due, now))

    async def _make(self, job: Job) -> timedelta:
        wanted = await self._rotation.wanted(job.cluster)
        found = await self._maker(job.cluster, wanted.tls)
        if found is None:
            return _SOON
        pod, index = found
        begun = job.status if job.status.running_since else None
        running = begun or job.status.model_copy(
            update={"running_since": _text(job.began), "running_index": index}
        )
        await self._teller.backup(job.cluster, running)
        address = nodes.address(job.cluster, pod)
        try:
            async with self._database.admin(address, wanted.tls, timeout=_PATIENCE) as admin:
                made = await _interrupted(admin, begun) or await admin.create_snapshot(
                    upload=True, timeout=_LONGEST
                )
                done = await self._succeeded(job, running, pod, made)
                await self._retain(job, done, admin, made)
        except AmatersError as error:
            await self._failed(job, running, pod, str(error))
        return timedelta(seconds=1)

    async def _maker(
        self, cluster: AmatersCluster, tls: TlsMaterial | None
    ) -> tuple[Pod, int] | None:
        """Return the pod that is to make the backup, and the log index its node has applied."""
        statefulset = await self._kube.get(kinds.STATEFUL_SET, cluster.namespace, cluster.name)
        if statefulset is None:
            return None
        seen = await self._observer.look(cluster, statefulset, tls)
        ordinal = backup_schedule.maker(seen)
        pod = None if ordinal is None else seen.pod(ordinal)
        return None if pod is None else (pod, seen.nodes[pod.ordinal].applied_index)

    async def _succeeded(
        self, job: Job, running: BackupStatus, pod: Pod, made: SnapshotInfo
    ) -> BackupStatus:
        now = self._kube.now()
        record = BackupRecord(
            uri=made.uri,
            completed=_text(now) or "",
            trigger=job.due.token or "schedule",
            pod=pod.name,
            size_bytes=made.size_bytes,
            keys=made.key_count or 0,
            applied_index=made.applied_index,
            duration_seconds=round((now - job.began).total_seconds(), 3),
        )
        done = running.model_copy(
            update={
                "last": record,
                "last_scheduled": _text(job.due.scheduled) or running.last_scheduled,
                "last_token": job.due.token or running.last_token,
                "running_since": None,
                "running_index": 0,
                "failure": "",
                "failed": None,
                "failures": 0,
            }
        )
        await self._teller.backup(job.cluster, done)
        note = f"{made.uri}: {made.key_count} records, {made.size_bytes} bytes, by {pod.name}"
        await self._teller.event(job.cluster, "BackupDone", note)
        return done

    async def _retain(
        self, job: Job, done: BackupStatus, admin: Admin, newest: SnapshotInfo
    ) -> None:
        """Delete what is too many; a failure costs only space and is told."""
        try:
            listed = await admin.list_snapshots(remote=True)
            stored = [retention.Backup(one.uri, one.created_at) for one in listed]
            surplus = retention.surplus(stored, keep=job.spec.retention.count, never=newest.uri)
            for gone in surplus:
                await admin.delete_snapshot(uri=gone.uri)
                await self._teller.event(job.cluster, "BackupDeleted", f"{gone.uri}: retention")
        except AmatersError as error:
            note = f"old backups stay: {error}"
            await self._teller.event(job.cluster, "RetentionFailed", note, kind="Warning")
        else:
            kept = done.model_copy(update={"kept": len(stored) - len(surplus)})
            await self._teller.backup(job.cluster, kept)

    async def _failed(self, job: Job, running: BackupStatus, pod: Pod, why: str) -> None:
        failed = running.model_copy(
            update={
                "running_since": None,
                "running_index": 0,
                "failure": f"by {pod.name}: {why}",
                "failed": _text(self._kube.now()),
                "failures": running.failures + 1,
            }
        )
        await self._teller.backup(job.cluster, failed)
        await self._teller.event(job.cluster, "BackupFailed", failed.failure, kind="Warning")


def _may_back_up(cluster: AmatersCluster) -> bool:
    record = cluster.status.bootstrap
    if record is None or not record.cluster_id:
        return False
    return cluster.spec.bootstrap is None or bool(record.restored_from)


def _due(
    cluster: AmatersCluster, spec: BackupSpec, status: BackupStatus, now: datetime
) -> Due | None:
    history = History(
        created=cluster.metadata.creation_timestamp or now,
        last_scheduled=_time(status.last_scheduled),
        last_token=status.last_token,
        failed=_time(status.failed),
        failures=status.failures,
    )
    return backup_schedule.due(
        history,
        schedule=spec.schedule,
        zone=spec.time_zone,
        token=cluster.metadata.annotations.get(BACKUP_ANNOTATION, ""),
        now=now,
    )


async def _interrupted(admin: Admin, begun: BackupStatus | None) -> SnapshotInfo | None:
    """Return the backup that an operator before us began and a node finished, if there is one.

    It is told from earlier ones by the log, not by the clock of the machine that made it.
    """
    if begun is None or not begun.running_index:
        return None
    last = "" if begun.last is None else begun.last.uri
    stored = await admin.list_snapshots(remote=True)
    finished = [
        one for one in stored if one.applied_index >= begun.running_index and one.uri != last
    ]
    return finished[-1] if finished else None


def _time(text: str | None) -> datetime | None:
    return None if not text else datetime.fromisoformat(text)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
