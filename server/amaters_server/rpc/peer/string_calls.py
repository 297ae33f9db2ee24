"""The string form of forwarded calls: a method's name, bytes, and error codes as strings.

Members of protocol revision 0 know no other. A node understands it as the receiver and uses it
towards them, so that a cluster can be rolled from them. Requests and answers are the same bytes in
both forms. Remove this module with 0.5, and fields 1 to 3 of both messages become reserved.
"""

from google.protobuf.message import DecodeError

from amaters_server.model.errors import MalformedError, NoLeaderError, ShuttingDownError
from amaters_server.node.membership import forwarding
from amaters_server.wire.peer_pb2 import ForwardRequest, ForwardResponse, Refusal

_FIELDS = {
    "report": "list_members",
    "add": "add_member",
    "promote": "promote_member",
    "remove": "remove_member",
    "announce": "announce_member",
    "transfer": "transfer_leadership",
    "identify": "identify",
    "failed": "failed_members",
    "leaving": "stopping_member",
}
_METHODS = {field: method for method, field in _FIELDS.items()}
_ANSWERS = {"identify": "identity", "failed_members": "failed_members"}
"""The field of the answer to a call; to all others it is `members`."""
_CODES = {kind("").code: code for code, kind in forwarding.FROM_REASON.items()}


def request(call: ForwardRequest) -> ForwardRequest:
    """Return a call in the string form."""
    field = call.WhichOneof("call") or ""
    if field not in _METHODS:
        raise ConnectionError(f"a member of protocol revision 0 does not know the call {field!r}")
    serialized = getattr(call, field).SerializeToString()
    return ForwardRequest(
        method=_METHODS[field], request=serialized, timeout_ms=call.timeout_ms, hops=call.hops
    )


def typed(request: ForwardRequest) -> ForwardRequest:
    """Return a call that arrived in the string form; one without a call when it is unknown."""
    call = ForwardRequest(timeout_ms=request.timeout_ms, hops=request.hops)
    if field := _FIELDS.get(request.method):
        getattr(call, field).SetInParent()
        try:
            getattr(call, field).MergeFromString(request.request)
        except DecodeError as wrong:
            raise MalformedError(f"this is no request of {request.method!r}") from wrong
    return call


def answer(response: ForwardResponse) -> ForwardResponse:
    """Return the answer to a call that arrived in the string form."""
    if response.HasField("refusal"):
        error = forwarding.error_of(response.refusal)
        return ForwardResponse(error_code=error.code, error_message=str(error))
    field = response.WhichOneof("answer") or ""
    return ForwardResponse(response=getattr(response, field).SerializeToString())


def typed_answer(member: int, call: ForwardRequest, answer: ForwardResponse) -> ForwardResponse:
    """Return what a member answered in the string form."""
    if answer.error_code:
        return ForwardResponse(refusal=_refusal(member, answer))
    response = ForwardResponse()
    field = _ANSWERS.get(call.WhichOneof("call") or "", "members")
    getattr(response, field).SetInParent()
    try:
        getattr(response, field).MergeFromString(answer.response)
    except DecodeError as wrong:
        raise ConnectionError(f"the answer of member {member} is malformed") from wrong
    return response


def _refusal(member: int, answer: ForwardResponse) -> Refusal:
    if answer.error_code == NoLeaderError.code:
        return Refusal(code=Refusal.CODE_NO_LEADER, node=member)
    if answer.error_code == ShuttingDownError.code:
        return Refusal(code=Refusal.CODE_SHUTTING_DOWN)
    code = _CODES.get(answer.error_code, Refusal.CODE_UNSPECIFIED)
    before, after = str(forwarding.FROM_REASON[code]("\0")).split("\0")
    reason = answer.error_message.removeprefix(before).removesuffix(after)
    return Refusal(code=code, reason=reason)
