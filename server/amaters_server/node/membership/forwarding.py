"""How membership calls and their errors travel between members inside `Forward`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from amaters_server.model import update_errors
from amaters_server.model.cluster import Member, NodeId
from amaters_server.model.errors import (
    DatabaseError,
    DeadlineError,
    InvalidRequestError,
    MalformedError,
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
from amaters_server.model.principal import ForwardedFor, Principal, PrincipalKind
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


METHODS: Mapping[str, str] = {
    "list_members": "Members",
    "add_member": "AddMember",
    "promote_member": "PromoteMember",
    "remove_member": "RemoveMember",
    "transfer_leadership": "TransferLeadership",
}
"""Calls that callers of the network make, and their methods; the others are members' own."""


_MODEL = (DatabaseError.__module__, update_errors.__name__)
"""The modules whose errors every member knows."""


def _kinds(kind: type[DatabaseError]) -> Iterator[type[DatabaseError]]:
    yield kind
    for one in kind.__subclasses__():
        if one.__module__ in _MODEL:
            yield from _kinds(one)


_BY_ERROR = {kind.code: kind for kind in _kinds(DatabaseError)}
"""Every error of the model by its stable code."""


def addressed(call: peer_pb2.ForwardRequest, seconds: float) -> peer_pb2.ForwardRequest:
    """Return the call for another member, which answers in that time and does not pass it on."""
    request = peer_pb2.ForwardRequest(timeout_ms=int(seconds * 1000), hops=1)
    request.MergeFrom(call)
    return request


def forwarded_for(caller: ForwardedFor) -> peer_pb2.ForwardedFor:
    """Encode on whose behalf a call is passed on."""
    principal = caller.principal
    return peer_pb2.ForwardedFor(
        name=principal.name,
        id=principal.id,
        kind=principal.kind,
        roles=principal.roles,
        expires_at=principal.expires_at,
        source_ip=caller.source_ip,
        internal=caller.internal,
    )


def caller_of(request: peer_pb2.ForwardRequest) -> ForwardedFor | None:
    """Decode on whose behalf the call was passed on; MalformedError when that makes no sense."""
    if not request.HasField("forwarded_for"):
        return None
    caller = request.forwarded_for
    try:
        kind = PrincipalKind(caller.kind)
    except ValueError:
        raise MalformedError(
            "the caller has an unknown kind of credential: upgrade this member"
        ) from None
    principal = Principal(
        caller.name,
        kind,
        tuple(caller.roles),
        caller.expires_at if caller.HasField("expires_at") else None,
        id=caller.id,
    )
    return ForwardedFor(principal, caller.source_ip, internal=caller.internal)


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
    refusal = _of_older_versions(error)
    kind = next(one for one in _kinds_of(error) if _BY_ERROR.get(one.code) is one)
    refusal.error, refusal.text, refusal.reason = kind.code, str(error), error.reason
    for name in kind.facts:
        value = getattr(error, name)
        (refusal.texts if isinstance(value, str) else refusal.numbers)[name] = value
    return peer_pb2.ForwardResponse(refusal=refusal)


def _kinds_of(error: DatabaseError) -> Iterator[type[DatabaseError]]:
    """Walk the kinds that the error is of, its own first."""
    return (kind for kind in type(error).__mro__ if issubclass(kind, DatabaseError))


def _of_older_versions(error: DatabaseError) -> Refusal:
    if isinstance(error, NoLeaderError):
        return Refusal(code=Refusal.CODE_NO_LEADER, node=error.node)
    if isinstance(error, ShuttingDownError):
        return Refusal(code=Refusal.CODE_SHUTTING_DOWN)
    code = next(_CODES[kind] for kind in _kinds_of(error) if kind in _CODES)
    return Refusal(code=code, reason=error.reason)


def error_of(refusal: Refusal) -> DatabaseError:
    """Decode a refusal; one of a later version may be an error without a code of its own."""
    kind = _BY_ERROR.get(refusal.error)
    if kind is not None:
        facts: dict[str, str | int] = {**refusal.texts, **refusal.numbers}
        with suppress(ValueError):
            return kind.received(refusal.text, refusal.reason, facts)
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
