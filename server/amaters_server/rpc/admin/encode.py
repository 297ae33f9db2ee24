"""From the node's values to messages of the admin service: pure and total."""

from collections.abc import Sequence

from amaters.wire import admin_pb2

from amaters_server.config.reloadable import ReloadReport
from amaters_server.model.cluster import Member, NodeState
from amaters_server.model.versions import dotted
from amaters_server.node.values import (
    DiskReport,
    Incompatible,
    MembersReport,
    MemberStatus,
    NodeStatus,
    RestoreUpdate,
    ShardInfo,
    ShardState,
)
from amaters_server.rpc.admin.ports import BackupFacts
from amaters_server.storage.set_aside import SetAside
from amaters_server.telemetry.certificates import CertificateFacts
from amaters_server.telemetry.counters import ConnectedClients
from amaters_server.telemetry.health import HealthFacts

STATES = {
    NodeState.STARTING: admin_pb2.NODE_STATE_STARTING,
    NodeState.WAITING: admin_pb2.NODE_STATE_WAITING,
    NodeState.FOLLOWER: admin_pb2.NODE_STATE_FOLLOWER,
    NodeState.CANDIDATE: admin_pb2.NODE_STATE_CANDIDATE,
    NodeState.LEADER: admin_pb2.NODE_STATE_LEADER,
    NodeState.LEARNER: admin_pb2.NODE_STATE_LEARNER,
    NodeState.REMOVED: admin_pb2.NODE_STATE_REMOVED,
    NodeState.DISK_LOST: admin_pb2.NODE_STATE_DISK_LOST,
    NodeState.SHUTTING_DOWN: admin_pb2.NODE_STATE_SHUTTING_DOWN,
}

SHARD_STATES = {
    ShardState.ACTIVE: admin_pb2.SHARD_STATE_ACTIVE,
    ShardState.SPLITTING: admin_pb2.SHARD_STATE_SPLITTING,
    ShardState.MERGING: admin_pb2.SHARD_STATE_MERGING,
    ShardState.TRANSFERRING: admin_pb2.SHARD_STATE_TRANSFERRING,
    ShardState.OFFLINE: admin_pb2.SHARD_STATE_OFFLINE,
}


def status(
    one: NodeStatus, certificates: Sequence[CertificateFacts], *, ready: bool
) -> admin_pb2.StatusResponse:
    """Return what a node says of itself."""
    return admin_pb2.StatusResponse(
        node_id=one.node_id,
        is_leader=one.is_leader,
        num_shards=int(one.member_count > 0),
        num_nodes=one.member_count,
        cluster_id=one.cluster_id,
        state=STATES[one.state],
        reason=one.reason,
        term=one.term,
        leader_id=one.leader_id,
        commit_index=one.commit_index,
        applied_index=one.applied_index,
        first_log_index=one.first_log_index,
        last_log_index=one.last_log_index,
        version=one.version,
        started_unix_ms=one.started_unix_ms,
        certificates=[certificate(facts) for facts in certificates],
        name=one.name,
        peer_address=one.peer_address,
        client_address=one.client_address,
        ready=ready,
        restoring=one.restoring,
        incompatible=[incompatible(found) for found in one.incompatible],
        fenced=one.fenced,
    )


def disk(found: DiskReport) -> admin_pb2.DiskUsage:
    """Return the room on a disk."""
    return admin_pb2.DiskUsage(
        total_bytes=found.total_bytes,
        free_bytes=found.free_bytes,
        kept_bytes=found.kept_bytes,
        low=found.low,
        full=found.full,
    )


def set_aside(found: SetAside) -> admin_pb2.SetAsideData:
    """Return what a removed member has left on a disk."""
    return admin_pb2.SetAsideData(member_id=found.member, size_bytes=found.size_bytes)


def clients(found: ConnectedClients) -> admin_pb2.ConnectedClients:
    """Return how many clients of a version are connected."""
    return admin_pb2.ConnectedClients(version=found.version, connections=found.connections)


def incompatible(found: Incompatible) -> admin_pb2.IncompatibleMember:
    """Return a member whose version does not fit."""
    return admin_pb2.IncompatibleMember(
        member_id=found.member,
        version=dotted(found.version),
        reason=found.reason,
        advice=found.advice,
        since_unix_ms=found.since_unix_ms,
    )


def certificate(facts: CertificateFacts) -> admin_pb2.Certificate:
    """Return what is known of a certificate."""
    return admin_pb2.Certificate(
        listener=facts.listener,
        serial=facts.serial,
        not_after_unix=facts.not_after_unix,
        subject=facts.subject,
    )


def members(report: MembersReport) -> admin_pb2.MembersResponse:
    """Return a list of members."""
    return admin_pb2.MembersResponse(
        cluster_id=report.cluster_id,
        leader_id=report.leader_id,
        term=report.term,
        commit_index=report.commit_index,
        members=[member_status(one) for one in report.members],
    )


def member_status(one: MemberStatus) -> admin_pb2.Member:
    """Return a member and how far it follows."""
    message = member(one.member)
    message.is_leader = one.is_leader
    message.match_index = one.match_index
    message.lag_entries = one.lag_entries
    message.recent_active = one.recent_active
    message.version = one.version
    return message


def member(one: Member) -> admin_pb2.Member:
    """Return who a member is."""
    return admin_pb2.Member(
        id=one.id,
        name=one.name,
        peer_address=one.peer_address,
        client_address=one.client_address,
        is_learner=one.is_learner,
        started=one.started,
    )


def snapshot(facts: BackupFacts) -> admin_pb2.Snapshot:
    """Return what is reported of a backup."""
    return admin_pb2.Snapshot(
        id=facts.id,
        timestamp_ms=facts.timestamp_ms,
        size_bytes=facts.size_bytes,
        original_size_bytes=facts.original_size_bytes,
        applied_index=facts.applied_index,
        term=facts.term,
        key_count=facts.key_count,
        uri=facts.uri,
        cluster_id=facts.cluster_id,
    )


def restore_progress(progress: RestoreUpdate) -> admin_pb2.RestoreProgress:
    """Return how far a restore is."""
    return admin_pb2.RestoreProgress(
        keys_restored=progress.keys_restored,
        keys_total=progress.keys_total,
        bytes_restored=progress.bytes_restored,
        done=progress.done,
        snapshot=progress.backup,
    )


def reload_report(
    report: ReloadReport, certificates: Sequence[CertificateFacts]
) -> admin_pb2.ReloadResponse:
    """Return what a reload did."""
    return admin_pb2.ReloadResponse(
        success=report.success,
        sections_updated=report.sections_updated,
        sections_skipped=report.sections_skipped,
        errors=report.errors,
        certificates=[certificate(facts) for facts in certificates],
    )


def shard(one: ShardInfo) -> admin_pb2.Shard:
    """Return one shard and who holds it."""
    return admin_pb2.Shard(
        id=one.id,
        range=admin_pb2.KeyRange(start=one.start, end=one.end),
        state=SHARD_STATES[one.state],
        node_id=one.leader,
        replicas=one.replicas,
        estimated_keys=one.estimated_keys,
        estimated_size_bytes=one.estimated_size_bytes,
    )


def health(facts: HealthFacts) -> admin_pb2.HealthResponse:
    """Return what a node says of its health."""
    return admin_pb2.HealthResponse(
        status=facts.status,
        alive=facts.alive,
        ready=facts.ready,
        reason=facts.reason,
        uptime_seconds=facts.uptime_seconds,
        uptime_percent=facts.uptime_percent,
        probes=[
            admin_pb2.Probe(
                name=one.name,
                status=one.status,
                message=one.message,
                latency_ms=round(one.latency_ms),
            )
            for one in facts.probes
        ],
    )
