"""`status.backup` after each step of a backup. Pure."""

from datetime import datetime

from amaters.admin.cluster import SnapshotInfo

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.status import BackupRecord, BackupStatus
from amaters_operator.decisions.backup.schedule import BackupHistory, BackupRequest, DueBackup

_AT_REST = {"running_since": None, "running_above": None}


def history(cluster: AmatersCluster, status: BackupStatus, now: datetime) -> BackupHistory:
    """Return the outcome of earlier backups."""
    return BackupHistory(
        created=cluster.metadata.creation_timestamp or now,
        last_scheduled=status.last_scheduled,
        last_token=status.last_token,
        failed=status.failed,
        failures=status.failures,
        failed_token=status.failed_token,
        failed_with=status.failed_with,
    )


def running(status: BackupStatus, started_at: datetime, above: int) -> BackupStatus:
    """Record that a backup runs, whose id will be above that one."""
    return status.model_copy(update={"running_since": started_at, "running_above": above})


def record(
    made: SnapshotInfo, due: DueBackup, pod: str, *, completed: datetime, started_at: datetime
) -> BackupRecord:
    """Return the record of a backup."""
    return BackupRecord(
        uri=made.uri,
        completed=completed,
        trigger=due.token or "schedule",
        pod=pod,
        size_bytes=made.size_bytes,
        keys=made.key_count or 0,
        applied_index=made.applied_index,
        duration_seconds=round((completed - started_at).total_seconds(), 3),
    )


def succeeded(
    status: BackupStatus, due: DueBackup, last: BackupRecord, others: tuple[str, ...]
) -> BackupStatus:
    """Record that a backup was made and found in the store."""
    return status.model_copy(
        update=_AT_REST
        | {
            "last": last,
            "last_scheduled": due.scheduled or status.last_scheduled,
            "last_token": due.token or status.last_token,
            "failure": "",
            "failed": None,
            "failures": 0,
            "failed_token": "",
            "failed_with": "",
            "others": list(others),
        }
    )


def failed(
    status: BackupStatus, due: DueBackup, asked: BackupRequest, why: str, *, at: datetime
) -> BackupStatus:
    """Record that an attempt failed, and with which inputs."""
    return status.model_copy(
        update=_AT_REST
        | {
            "failure": why,
            "failed": at,
            "failures": status.failures + 1,
            "failed_token": due.token,
            "failed_with": asked.inputs,
        }
    )
