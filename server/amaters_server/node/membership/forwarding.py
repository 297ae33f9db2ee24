"""How membership calls and their errors travel between members inside `Forward`."""

from collections.abc import Iterator

from amaters_server.model import errors
from amaters_server.model.cluster import Member, NodeId
from amaters_server.model.errors import DatabaseError
from amaters_server.node.values import MembersReport, MemberStatus
from amaters_server.wire import peer_pb2


def passed_on(method: str, call: bytes, seconds: float) -> peer_pb2.ForwardRequest:
    """Wrap a call for another member, which answers within that time and passes it on no further."""
    return peer_pb2.ForwardRequest(
        method=method, request=call, timeout_ms=int(seconds * 1000), hops=1
    )


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


def announced(call: peer_pb2.MemberCall, disk_id: str) -> Member:
    """Decode what a member says of itself; which disk it is, the cluster knows already."""
    return Member(
        NodeId(call.id), call.name, call.peer_address, call.client_address, disk_id=disk_id
    )


def refused(error: DatabaseError) -> peer_pb2.ForwardResponse:
    """Encode a refusal."""
    return peer_pb2.ForwardResponse(error_code=error.code, error_message=str(error))


def error_from(response: peer_pb2.ForwardResponse) -> DatabaseError:
    """Rebuild a refusal from its stable code and its text."""
    kind = _BY_CODE.get(response.error_code, DatabaseError)
    rebuilt = kind.__new__(kind)
    Exception.__init__(rebuilt, response.error_message)
    return rebuilt


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


def _kinds(kind: type[DatabaseError]) -> Iterator[type[DatabaseError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


_WITH_FACTS = {errors.NotLeaderError, errors.OverloadedError}
# Their handlers read attributes that the wire does not carry.
_BY_CODE = {kind.code: kind for kind in _kinds(DatabaseError) if kind not in _WITH_FACTS}
