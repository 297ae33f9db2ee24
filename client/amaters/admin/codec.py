"""Messages of the admin service to the values of `amaters.admin.cluster`: pure and total."""

from datetime import UTC, datetime

from amaters.admin.cluster import (
    CertificateInfo,
    ClusterMembers,
    ConnectedClients,
    DiskUsage,
    IncompatibleMember,
    MemberInfo,
    NodeState,
    NodeStatus,
    ReloadReport,
    RestoreProgress,
    SetAsideData,
    SnapshotInfo,
    StoreCredentials,
)
from amaters.wire import admin_pb2

_STATES: dict[int, NodeState] = {
    admin_pb2.NODE_STATE_STARTING: NodeState.STARTING,
    admin_pb2.NODE_STATE_WAITING: NodeState.WAITING,
    admin_pb2.NODE_STATE_FOLLOWER: NodeState.FOLLOWER,
    admin_pb2.NODE_STATE_CANDIDATE: NodeState.CANDIDATE,
    admin_pb2.NODE_STATE_LEADER: NodeState.LEADER,
    admin_pb2.NODE_STATE_LEARNER: NodeState.LEARNER,
    admin_pb2.NODE_STATE_REMOVED: NodeState.REMOVED,
    admin_pb2.NODE_STATE_DISK_LOST: NodeState.DISK_LOST,
    admin_pb2.NODE_STATE_SHUTTING_DOWN: NodeState.SHUTTING_DOWN,
}


def node_status(message: admin_pb2.StatusResponse) -> NodeStatus:
    """Read a node's status; a state this client does not know is UNKNOWN."""
    started = message.started_unix_ms
    return NodeStatus(
        node_id=message.node_id,
        name=message.name,
        state=_STATES.get(message.state, NodeState.UNKNOWN),
        reason=message.reason,
        ready=message.ready,
        restoring=message.restoring,
        is_leader=message.is_leader,
        leader_id=message.leader_id,
        cluster_id=message.cluster_id,
        term=message.term,
        commit_index=message.commit_index,
        applied_index=message.applied_index,
        first_log_index=message.first_log_index,
        last_log_index=message.last_log_index,
        num_nodes=message.num_nodes,
        num_shards=message.num_shards,
        version=message.version,
        peer_address=message.peer_address,
        client_address=message.client_address,
        started_at=timestamp(started / 1000) if started else None,
        certificates=tuple(certificate(one) for one in message.certificates),
        config_digest=message.config_digest,
        incompatible=tuple(incompatible(one) for one in message.incompatible),
        disk=disk(message.disk),
        set_aside=tuple(SetAsideData(one.member_id, one.size_bytes) for one in message.set_aside),
        fenced=message.fenced,
        clients=tuple(ConnectedClients(one.version, one.connections) for one in message.clients),
    )


def disk(message: admin_pb2.DiskUsage) -> DiskUsage | None:
    """Read the room on a disk; None when it was not measured."""
    if not message.total_bytes:
        return None
    return DiskUsage(
        total=message.total_bytes,
        free=message.free_bytes,
        kept=message.kept_bytes,
        low=message.low,
        full=message.full,
    )


def incompatible(message: admin_pb2.IncompatibleMember) -> IncompatibleMember:
    """Read which member a node does not work with."""
    return IncompatibleMember(
        member_id=message.member_id,
        version=message.version,
        reason=message.reason,
        advice=message.advice,
        since=timestamp(message.since_unix_ms / 1000),
    )


def certificate(message: admin_pb2.Certificate) -> CertificateInfo:
    """Read one certificate that is being served."""
    return CertificateInfo(
        listener=message.listener,
        serial=message.serial,
        not_after=timestamp(message.not_after_unix),
        subject=message.subject,
    )


def member(message: admin_pb2.Member) -> MemberInfo:
    """Read one member."""
    return MemberInfo(
        id=message.id,
        name=message.name,
        peer_address=message.peer_address,
        client_address=message.client_address,
        is_learner=message.is_learner,
        started=message.started,
        is_leader=message.is_leader,
        match_index=message.match_index,
        lag_entries=message.lag_entries,
        recent_active=message.recent_active,
        version=message.version,
    )


def members(message: admin_pb2.MembersResponse) -> ClusterMembers:
    """Read the list of members, ordered by id."""
    found = sorted((member(one) for one in message.members), key=lambda one: one.id)
    return ClusterMembers(
        cluster_id=message.cluster_id,
        leader_id=message.leader_id,
        term=message.term,
        commit_index=message.commit_index,
        members=tuple(found),
    )


def snapshot(message: admin_pb2.Snapshot) -> SnapshotInfo:
    """Read the description of one backup."""
    return SnapshotInfo(
        id=message.id,
        created_at=timestamp(message.timestamp_ms / 1000),
        size_bytes=message.size_bytes,
        original_size_bytes=message.original_size_bytes,
        applied_index=message.applied_index,
        term=message.term,
        key_count=message.key_count if message.HasField("key_count") else None,
        uri=message.uri,
        cluster_id=message.cluster_id,
    )


def store_credentials(keys: StoreCredentials | None) -> admin_pb2.StoreCredentials | None:
    """Encode the credentials of a store."""
    if keys is None:
        return None
    return admin_pb2.StoreCredentials(
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
        session_token=keys.session_token,
    )


def restore_progress(message: admin_pb2.RestoreProgress) -> RestoreProgress:
    """Read one progress report of a restore."""
    return RestoreProgress(
        keys_restored=message.keys_restored,
        keys_total=message.keys_total,
        bytes_restored=message.bytes_restored,
        done=message.done,
        snapshot=message.snapshot,
    )


def reload_report(message: admin_pb2.ReloadResponse) -> ReloadReport:
    """Read what a reload did."""
    return ReloadReport(
        success=message.success,
        sections_updated=tuple(message.sections_updated),
        sections_skipped=tuple(message.sections_skipped),
        errors=tuple(message.errors),
        certificates=tuple(certificate(one) for one in message.certificates),
    )


_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)


def timestamp(unix_seconds: float) -> datetime:
    """Return the time; one outside the calendar becomes its nearest end, for codecs are total."""
    return datetime.fromtimestamp(
        min(max(unix_seconds, _EARLIEST.timestamp()), _LATEST.timestamp()), tz=UTC
    )
