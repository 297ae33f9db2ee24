"""Calls in the string form: bytes that members of protocol revision 0 sent, captured from them."""

import json
from pathlib import Path

import pytest
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
from amaters_server.node.membership import forwarding
from amaters_server.rpc.peer import string_calls
from amaters_server.wire import peer_pb2
from amaters_server.wire.peer_pb2 import ForwardRequest, ForwardResponse
from google.protobuf.message import Message

ADDRESSES = {"peer_address": "db-3:7879", "client_address": "db-3:7878", "name": "db-3"}
IDENTIFY = peer_pb2.IdentifyRequest(**ADDRESSES, disk_id="d3", initial_members=["1:db-1:7879"])
NEW = peer_pb2.MemberEntry(id=3, **ADDRESSES, disk_id="d3", is_learner=True)
LEARNER = peer_pb2.MemberEntry(
    match_index=5, lag_entries=4, recent_active=True, version="0.3.0", silent_ms=12
)
LEARNER.MergeFrom(NEW)

CALLS = {
    "list_members": {},
    "add_member": ADDRESSES,
    "promote_member": {"id": 3},
    "remove_member": {"id": 3},
    "announce_member": {"id": 3, **ADDRESSES},
    "transfer_leadership": {"to": 2},
    "stopping_member": {"id": 3},
    "failed_members": {"term": 7, "members": [2, 3]},
    "identify": IDENTIFY,
}
ANSWERS = {
    "list_members": ForwardResponse(
        members=peer_pb2.MemberReply(
            leader_id=1, term=7, commit_index=9, cluster_id="c", members=[LEARNER], member_id=3
        )
    ),
    "failed_members": ForwardResponse(failed_members=peer_pb2.FailedMembers(term=6, members=[1])),
    "identify": ForwardResponse(
        identity=peer_pb2.IdentifyResponse(
            verdict=peer_pb2.IdentifyResponse.VERDICT_JOIN,
            cluster_id="c",
            member_id=3,
            members=[NEW],
        )
    ),
}
ERRORS = [
    MembershipError("member 3 votes already"),
    NoLeaderError(node=2),
    NotReadyError("it is joining"),
    OutcomeUnknownError("time ran out"),
    NotAppliedError("dropped"),
    DeadlineError("the read barrier"),
    ShuttingDownError(),
    StorageError("disk"),
    StorageFullError("full"),
    StorageCorruptedError("bad"),
    InvalidRequestError("no"),
    DatabaseError("?"),
]


def call_of(field: str) -> ForwardRequest:
    return ForwardRequest(**{field: CALLS[field]}, timeout_ms=2500, hops=1)


def captured(kind: type[Message], *path: str):
    found = json.loads((Path(__file__).parent / "golden/string_calls.json").read_text())
    for name in path:
        found = found[name]
    return kind.FromString(bytes.fromhex(found))


@pytest.mark.parametrize("field", CALLS)
def test_a_call_is_read_and_made_as_it_was(field):
    old = captured(ForwardRequest, "calls", field)

    assert string_calls.typed(old) == call_of(field)
    assert string_calls.typed(old).WhichOneof("call") == field
    assert string_calls.request(call_of(field)) == old


@pytest.mark.parametrize("field", ANSWERS)
def test_an_answer_is_read_and_made_as_it_was(field):
    old = captured(ForwardResponse, "answers", field)

    assert string_calls.typed_answer(2, call_of(field), old) == ANSWERS[field]
    assert string_calls.answer(ANSWERS[field]) == old


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_a_refusal_is_read_and_made_as_it_was(error):
    old = captured(ForwardResponse, "refusals", error.code)

    read = forwarding.error_of(string_calls.typed_answer(2, ForwardRequest(), old).refusal)

    assert (type(read), str(read)) == (type(error), str(error))
    assert string_calls.answer(forwarding.refused(error)) == old


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_a_typed_refusal_raises_the_same_error(error):
    read = forwarding.error_of(forwarding.refused(error).refusal)

    assert (type(read), str(read)) == (type(error), str(error))


def test_every_code_has_its_error():
    codes = set(peer_pb2.Refusal.Code.values())
    of_their_own = {peer_pb2.Refusal.CODE_NO_LEADER, peer_pb2.Refusal.CODE_SHUTTING_DOWN}

    assert set(forwarding.FROM_REASON) == codes - of_their_own


def test_an_error_without_a_code_reaches_older_members_as_its_nearest_ancestor():
    refusal = forwarding.refused(MalformedError("no key")).refusal
    for name in ("error", "text", "texts", "numbers"):
        refusal.ClearField(name)

    read = forwarding.error_of(refusal)

    assert (type(read), str(read)) == (InvalidRequestError, "no key")


def test_handshakes_are_the_same_bytes_as_before():
    shaken = captured(peer_pb2.HandshakeRequest, "handshake_request")
    answered = captured(peer_pb2.HandshakeResponse, "handshake_response")

    assert (shaken.cluster_id, shaken.sender, shaken.to, shaken.reconnect) == ("c", 1, 2, True)
    assert (answered.accepted, answered.node_id, answered.term) == (True, 2, 7)
    assert answered.protocol_revision == 0


def test_an_unknown_method_is_a_call_without_a_field():
    call = string_calls.typed(ForwardRequest(method="later", request=b"x", hops=1))

    assert call.WhichOneof("call") is None


def test_bytes_that_are_no_answer_are_a_broken_connection():
    with pytest.raises(ConnectionError, match="member 2"):
        string_calls.typed_answer(2, call_of("list_members"), ForwardResponse(response=b"\xff"))


def test_a_later_call_has_no_string_form():
    with pytest.raises(ConnectionError, match="ask_disk"):
        string_calls.request(ForwardRequest(ask_disk=peer_pb2.AskDisk()))
