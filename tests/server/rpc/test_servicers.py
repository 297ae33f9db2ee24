"""A generated servicer behind the listener: answers, errors and deadlines."""

import asyncio

import grpc
import pytest
from amaters.wire import admin_pb2, admin_pb2_grpc
from amaters_server.model.errors import NotLeaderError, SnapshotError
from amaters_server.rpc.admin.service import SERVICE
from amaters_server.rpc.peer.listener import MAX_CONNECTIONS_PER_HOST, InternalListener
from amaters_server.rpc.transport.servicers import served
from typing_extensions import override


class Servicer(admin_pb2_grpc.AdminServiceServicer):
    def __init__(self):
        self.left = "not asked"
        self.ended = asyncio.Event()

    @override
    async def Members(self, request, context):
        self.left = context.time_remaining()
        return admin_pb2.MembersResponse(cluster_id="c" if request.from_leader else "")

    @override
    async def AddMember(self, request, context):
        raise NotLeaderError(node=1, leader=2, leader_address="h:7878")

    @override
    async def Reload(self, request, context):
        raise RuntimeError("a defect")

    @override
    async def RestoreSnapshot(self, request, context):
        try:
            for keys in range(3):
                yield admin_pb2.RestoreProgress(keys_restored=keys)
            if request.uri == "endless":
                await asyncio.sleep(60)
            if request.uri == "broken":
                raise SnapshotError("it is damaged")
        finally:
            self.ended.set()


@pytest.fixture
async def asked():
    servicer = Servicer()
    listener = InternalListener(
        "127.0.0.1:0",
        lambda: None,
        (lambda tasks: served(servicer, SERVICE, tasks),),
    )
    await listener.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        yield admin_pb2_grpc.AdminServiceStub(channel), servicer, channel
    await listener.stop(0)


async def test_answers_and_time_left(asked):
    stub, servicer, _ = asked

    answer = await stub.Members(admin_pb2.MembersRequest(from_leader=True), timeout=20)
    assert answer.cluster_id == "c"
    # gRPC's client rounds the time it sends up to tenths of a second.
    assert 10 < servicer.left < 20.2

    await stub.Members(admin_pb2.MembersRequest())
    assert servicer.left is None


async def failure(call):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


async def test_errors_have_their_status_and_a_stable_code(asked):
    stub, _, _ = asked

    error = await failure(stub.AddMember(admin_pb2.AddMemberRequest()))

    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert dict(error.trailing_metadata())["amaters-code"] == "not_leader"
    assert dict(error.trailing_metadata())["amaters-leader"] == "h:7878"


async def test_defects_and_nonsense_are_answered_too(asked):
    stub, _, channel = asked

    defect = await failure(stub.Reload(admin_pb2.ReloadRequest()))
    nonsense = await failure(channel.unary_unary(f"/{SERVICE.full_name}/Members")(b"\xff"))
    unknown = await failure(channel.unary_unary(f"/{SERVICE.full_name}/Nothing")(b""))

    assert defect.code() is grpc.StatusCode.INTERNAL
    assert nonsense.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert unknown.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_streams_answer_fail_and_end_with_their_caller(asked):
    stub, servicer, _ = asked

    def restore(uri):
        return stub.RestoreSnapshot(admin_pb2.RestoreSnapshotRequest(uri=uri))

    assert [one.keys_restored async for one in restore("s3://b/k")] == [0, 1, 2]

    call = restore("broken")
    assert [(await call.read()).keys_restored for _ in range(3)] == [0, 1, 2]
    assert (await failure(call.read())).details() == "it is damaged"

    servicer.ended.clear()
    call = restore("endless")
    await call.read()
    call.cancel()
    async with asyncio.timeout(5):
        await servicer.ended.wait()


async def test_one_host_cannot_take_the_places_of_the_others():
    """Of the internal listener: 127.0.0.2 stands for another host."""
    listener = InternalListener(
        "127.0.0.1:0", lambda: None, (lambda tasks: served(Servicer(), SERVICE, tasks),)
    )
    await listener.start()

    def connect(host):
        return asyncio.open_connection("127.0.0.1", listener.port, local_addr=(host, 0))

    async def greeted(connection):
        reader, writer = connection
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        try:
            return await reader.read(1) != b""
        except ConnectionError:
            return False

    greedy, answers = [], []
    for _ in range(MAX_CONNECTIONS_PER_HOST + 3):
        greedy.append(await connect("127.0.0.1"))
        answers.append(await greeted(greedy[-1]))
    other = await connect("127.0.0.2")

    assert answers.count(False) == 3
    assert await greeted(other)
    for _, writer in (*greedy, other):
        writer.close()
    await listener.stop(0)
