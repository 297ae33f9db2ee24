"""Messages of the admin service to the values of `amaters.admin.observations`: pure and total."""

from amaters.admin.codec import timestamp
from amaters.admin.observations import (
    Alert,
    LogRecord,
    NodeHealth,
    ProbeResult,
    Severity,
    ShardInfo,
    ShardState,
    SnapshotChunk,
)
from amaters.wire import admin_pb2

_SEVERITIES: dict[int, Severity] = {
    admin_pb2.SEVERITY_INFO: Severity.INFO,
    admin_pb2.SEVERITY_WARNING: Severity.WARNING,
    admin_pb2.SEVERITY_CRITICAL: Severity.CRITICAL,
}
_SHARD_STATES: dict[int, ShardState] = {
    admin_pb2.SHARD_STATE_ACTIVE: ShardState.ACTIVE,
    admin_pb2.SHARD_STATE_SPLITTING: ShardState.SPLITTING,
    admin_pb2.SHARD_STATE_MERGING: ShardState.MERGING,
    admin_pb2.SHARD_STATE_TRANSFERRING: ShardState.TRANSFERRING,
    admin_pb2.SHARD_STATE_OFFLINE: ShardState.OFFLINE,
}


def alert(message: admin_pb2.Alert) -> Alert:
    """Read an alert; a severity this client does not know is UNKNOWN."""
    return Alert(
        sequence=message.sequence,
        event=message.event,
        rule=message.rule,
        severity=_SEVERITIES.get(message.severity, Severity.UNKNOWN),
        key=message.key,
        facts=dict(message.facts),
        message=message.message,
        advice=message.advice,
        runbook=message.runbook,
        node_id=message.node_id,
        node_name=message.node_name,
        at=timestamp(message.at_unix_ms / 1000),
        missed=message.missed,
    )


def log_record(message: admin_pb2.LogRecord) -> LogRecord:
    """Read a record of a node's log."""
    return LogRecord(
        sequence=message.sequence,
        at=timestamp(message.at_unix_ms / 1000),
        level=message.level,
        event=message.event,
        fields=dict(message.fields),
        missed=message.missed,
    )


def shard(message: admin_pb2.Shard) -> ShardInfo:
    """Read one shard."""
    return ShardInfo(
        id=message.id,
        start=message.range.start,
        end=message.range.end,
        state=_SHARD_STATES.get(message.state, ShardState.UNKNOWN),
        leader_id=message.node_id,
        replicas=tuple(message.replicas),
        estimated_keys=message.estimated_keys,
        estimated_size_bytes=message.estimated_size_bytes,
    )


def health(message: admin_pb2.HealthResponse) -> NodeHealth:
    """Read a node's health."""
    return NodeHealth(
        status=message.status,
        alive=message.alive,
        ready=message.ready,
        reason=message.reason,
        uptime_seconds=message.uptime_seconds,
        uptime_percent=message.uptime_percent,
        probes=tuple(
            ProbeResult(one.name, one.status, one.message, one.latency_ms) for one in message.probes
        ),
    )


def snapshot_chunk(message: admin_pb2.SnapshotChunk) -> SnapshotChunk:
    """Read bytes of a backup file."""
    return SnapshotChunk(
        snapshot_id=message.snapshot_id,
        offset=message.offset,
        data=message.data,
        total_bytes=message.total_bytes,
        sha256=message.sha256,
    )
