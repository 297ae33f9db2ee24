"""How membership calls and their errors travel between members inside `Forward`."""

from collections.abc import Callable, Mapping

from amaters_server.model.cluster import Member, NodeId
from amaters_server.model.errors import (
    DatabaseError,
    DeadlineError,
    InvalidRequestError,
    MembershipError,
    NoLeaderError,
    NotAppliedError,
    NotReadyError,
    OutcomeUnknownError,
    ShuttingDownError,
    StorageCorruptedError,
    StorageError,
    StorageFullError,
)
from amaters_server.node.values import MembersReport, MemberStatus
from amaters_server.wire import peer_pb2
from amaters_server.wire.peer_pb2 import Refusal

FROM_REASON: Mapping["Refusal.Code.ValueType", Callable[[str], DatabaseError]] = {
    Refusal.CODE_UNSPECIFIED: DatabaseError,
    Refusal.CODE_NOT_READY: NotReadyError,
    Refusal.CODE_MEMBERSHIP: MembershipError,
    Refusal.CODE_OUTCOME_UNKNOWN: OutcomeUnknownError,
    Refusal.CODE_NOT_APPLIED: NotAppliedError,
    Refusal.CODE_DEADLINE: DeadlineError,
    Refusal.CODE_INVALID_REQUEST: InvalidRequestError,
    Refusal.CODE_STORAGE: StorageError,
    Refusal.CODE_STORAGE_FULL: StorageFullError,
    Refusal.CODE_STORAGE_CORRUPTED: StorageCorruptedError,
}
"""Errors that a reason is enough to raise again."""
_CODES = {kind: code for code, kind in FROM_REASON.items()}


def addressed(call: peer_pb2.ForwardRequest, seconds: float) -> peer_pb2.ForwardRequest:
    """Return the call for another member, which answers in that time and does not pass it on."""
    request = peer_pb2.ForwardRequest(timeout_ms=int(seconds * 1000), hops=1)
    request.MergeFrom(call)
    return request


def entry(status: MemberStatus) -> peer_pb2.MemberEntry:
    """Encode one member and how it follows."""
    member = status.member
    return peer_pb2.MemberEntry(
        id=member.id,
        name=member.name,
        peer_address=member.peer_address,
        client_address=member.client_address,
        disk_id=member.disk_id,
        is_learner=member.is_learner,
        match_index=status.match_index,
        lag_entries=status.lag_entries,
        recent_active=status.recent_active,
        version=status.version,
        silent_ms=status.silent_ms,
    )


def reply(report: MembersReport, member_id: int = 0) -> peer_pb2.MemberReply:
    """Encode the members, and which one the call was about."""
    return peer_pb2.MemberReply(
        leader_id=report.leader_id,
        term=report.term,
        commit_index=report.commit_index,
        cluster_id=report.cluster_id,
        members=[entry(status) for status in report.members],
        member_id=member_id,
    )


def report(message: peer_pb2.MemberReply) -> MembersReport:
    """Decode the members."""
    return MembersReport(
        cluster_id=message.cluster_id,
        leader_id=message.leader_id,
        term=message.term,
        commit_index=message.commit_index,
        members=tuple(_status(one, message.leader_id) for one in message.members),
    )


def announced(call: peer_pb2.AnnounceMember, disk_id: str) -> Member:
    """Decode a member's announcement; the cluster knows its disk already."""
    return Member(
        NodeId(call.id), call.name, call.peer_address, call.client_address, disk_id=disk_id
    )


def refused(error: DatabaseError) -> peer_pb2.ForwardResponse:
    """Encode a refusal."""
    if isinstance(error, NoLeaderError):
        refusal = Refusal(code=Refusal.CODE_NO_LEADER, node=error.node)
    elif isinstance(error, ShuttingDownError):
        refusal = Refusal(code=Refusal.CODE_SHUTTING_DOWN)
    else:
        code = next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
        refusal = Refusal(code=code, reason=error.reason)
    return peer_pb2.ForwardResponse(refusal=refusal)


def error_of(refusal: Refusal) -> DatabaseError:
    """Decode a refusal; a code of a later version is an error without a code of its own."""
    if refusal.code == Refusal.CODE_NO_LEADER:
        return NoLeaderError(node=refusal.node)
    if refusal.code == Refusal.CODE_SHUTTING_DOWN:
        return ShuttingDownError()
    return FROM_REASON.get(refusal.code, DatabaseError)(refusal.reason)


def _status(one: peer_pb2.MemberEntry, leader: int) -> MemberStatus:
    member = Member(
        NodeId(one.id),
        one.name,
        one.peer_address,
        one.client_address,
        is_learner=one.is_learner,
        disk_id=one.disk_id,
    )
    return MemberStatus(
        member,
        is_leader=one.id == leader,
        match_index=one.match_index,
        lag_entries=one.lag_entries,
        recent_active=one.recent_active,
        version=one.version,
        silent_ms=one.silent_ms if one.HasField("silent_ms") else None,
    )
