"""Request ids that name a write session reach the node as such; all others mean nothing to it."""

import pytest
from amaters.wire import errors_pb2
from amaters.wire.aql_pb2 import ServerInfoRequest

SESSION = bytes(range(16))
NAMED = f"s:{SESSION.hex()}:7"


async def test_a_write_carries_the_session_its_request_id_names(served, ask):
    await served.stub.ExecuteQuery(ask.request(ask.set(b"k", b"v"), request_id=NAMED))
    await served.stub.ExecuteQuery(ask.request(ask.delete(b"k"), request_id=NAMED))

    for (write,) in served.database.writes:
        assert (write.session, write.session_sequence) == (SESSION, 7)


async def test_a_batch_carries_the_session_its_request_id_names(served, ask):
    await served.stub.ExecuteBatch(ask.batch(ask.set(b"k", b"v"), request_id=NAMED))
    command = ask.get(b"__admin__:METRICS")
    await served.stub.ExecuteBatch(ask.batch(ask.set(b"k", b"v"), command, request_id=NAMED))

    for (write,) in served.database.writes:
        assert (write.session, write.session_sequence) == (SESSION, 7)


@pytest.mark.parametrize("other", [None, "", "0d9c3e5e-6f1a-4d0e-9d0e-2f6f2f6f2f6f"])
async def test_any_other_request_id_names_no_session(served, ask, other):
    await served.stub.ExecuteQuery(ask.request(ask.set(b"k", b"v"), request_id=other))

    ((write,),) = served.database.writes
    assert (write.session, write.session_sequence) == (b"", 0)


@pytest.mark.parametrize(
    "wrong",
    ["s:", "s::1", "s:zz:1", "s:00", "s:00:", "s:00:0", "s:00:-1", "s:00:x", f"s:{'00' * 65}:1"],
)
async def test_a_session_that_cannot_be_read_is_refused_rather_than_ignored(served, ask, wrong):
    single = await served.stub.ExecuteQuery(ask.request(ask.set(b"k", b"v"), request_id=wrong))
    batch = await served.stub.ExecuteBatch(ask.batch(ask.set(b"k", b"v"), request_id=wrong))

    for answer in (single, batch):
        assert answer.error.code == errors_pb2.ERROR_PROTOCOL_MALFORMED_MESSAGE
        assert "s:HEXADECIMAL:SEQUENCE" in answer.error.message
        assert answer.request_id == wrong
    assert served.database.writes == []


async def test_the_server_says_that_it_keeps_write_sessions(served):
    info = await served.stub.GetServerInfo(ServerInfoRequest())

    assert "write.sessions" in info.capabilities
