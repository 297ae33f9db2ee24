"""Standard services behind the listener, asked with the clients that grpcio brings for them."""

import asyncio

import grpc
import pytest
from amaters.wire import admin_pb2, aql_pb2
from amaters_server.model.errors import InvalidRequestError
from amaters_server.rpc import health, reflection
from amaters_server.rpc.admin.service import SERVICE as ADMIN
from amaters_server.rpc.health import HealthService
from amaters_server.rpc.peer.listener import InternalListener
from amaters_server.rpc.reflection import Reflection
from amaters_server.testing.loopback import until
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


class Served:
    """One listener, and whether its node is ready."""

    def __init__(self) -> None:
        self.ready = True
        self.service = HealthService(lambda: self.ready)
        offered = self.service.methods([ADMIN.full_name])
        offered |= Reflection([ADMIN, health.SERVICE]).methods()
        self.listener = InternalListener("127.0.0.1:0", lambda: None, (lambda _: offered,))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.port}"


@pytest.fixture
async def served(monkeypatch):
    monkeypatch.setattr(health, "LOOK_AGAIN_SECONDS", 0.02)
    made = Served()
    await made.listener.start()
    yield made
    made.service.stop()
    await made.listener.stop(0)


@pytest.fixture
async def probe(served):
    async with grpc.aio.insecure_channel(served.address) as channel:
        yield HealthStub(channel)


@pytest.mark.parametrize("name", ["", ADMIN.full_name, "grpc.health.v1.Health"])
async def test_a_service_is_serving_while_the_node_is_ready(served, probe, name):
    assert (await probe.Check(HealthCheckRequest(service=name), timeout=10)).status == SERVING

    served.ready = False

    assert (await probe.Check(HealthCheckRequest(service=name), timeout=10)).status == NOT_SERVING


async def test_the_health_of_a_service_that_is_not_offered_is_not_found(probe):
    with pytest.raises(grpc.aio.AioRpcError, match="offers no 'other'") as raised:
        await probe.Check(HealthCheckRequest(service="other"), timeout=10)

    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


async def test_all_services_are_listed_with_their_health(served, probe):
    served.ready = False

    statuses = (await probe.List(HealthListRequest(), timeout=10)).statuses

    assert {name: one.status for name, one in statuses.items()} == dict.fromkeys(
        ["", ADMIN.full_name, "grpc.health.v1.Health"], NOT_SERVING
    )


async def test_changes_are_watched_and_a_stop_ends_that(served, probe):
    seen: list[int] = []

    async def watch() -> None:
        call = probe.Watch(HealthCheckRequest(), timeout=30)
        while answer := await call.read():
            seen.append(answer.status)
        raise grpc.aio.UsageError("the stream ended without an error")

    watching = asyncio.create_task(watch())
    await until(lambda: seen == [SERVING])
    served.ready = False
    await until(lambda: seen == [SERVING, NOT_SERVING])
    served.ready = True
    await until(lambda: seen == [SERVING, NOT_SERVING, SERVING])
    served.ready = False
    served.service.stop()

    with pytest.raises(grpc.aio.AioRpcError, match="retry on another node") as raised:
        await asyncio.wait_for(watching, 10)
    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
    assert seen[3:] == [NOT_SERVING]


async def test_an_unknown_service_is_watched_as_such(probe):
    watching = probe.Watch(HealthCheckRequest(service="other"), timeout=30)

    assert (await watching.read()).status == HealthCheckResponse.SERVICE_UNKNOWN
    watching.cancel()


def described_over(address: str) -> tuple[list[str], list[str], bytes]:
    """Ask as a client does that knows no service: what there is, and what it is made of."""
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        service = pool.FindServiceByName(ADMIN.full_name)
        method = service.FindMethodByName("Status")
        return (
            sorted(database.get_services()),
            [one.name for one in service.methods],
            method.output_type.file.serialized_pb,
        )


async def test_a_client_without_stubs_learns_all_services(served):
    services, methods, file = await asyncio.to_thread(described_over, served.address)

    assert services == [
        ADMIN.full_name,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]
    assert methods == [one.name for one in ADMIN.methods]
    assert file == admin_pb2.DESCRIPTOR.serialized_pb


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_a_stream_is_answered_question_by_question(served, version):
    name = f"grpc.reflection.{version}.ServerReflection"
    async with grpc.aio.insecure_channel(served.address) as channel:
        call = channel.stream_stream(
            f"/{name}/ServerReflectionInfo",
            request_serializer=ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection.reflection_pb2.ServerReflectionResponse.FromString,
        )(timeout=10)
        for symbol in (name, f"{ADMIN.full_name}.Status", "amaters.admin.v1.StatusRequest"):
            await call.write(ServerReflectionRequest(file_containing_symbol=symbol))
            answer = await call.read()
            assert answer.file_descriptor_response.file_descriptor_proto
            assert answer.original_request.file_containing_symbol == symbol


@pytest.mark.parametrize(
    "request_",
    [
        ServerReflectionRequest(file_by_filename="amaters/wire/aql.proto"),
        ServerReflectionRequest(file_containing_symbol="amaters.aql.AqlService"),
        ServerReflectionRequest(all_extension_numbers_of_type="amaters.aql.QueryRequest"),
        ServerReflectionRequest(file_containing_extension={"containing_type": "x"}),
        ServerReflectionRequest(),
    ],
    ids=["file", "symbol", "extensions", "extension", "nothing"],
)
def test_what_the_listener_does_not_serve_is_not_described(request_):
    assert aql_pb2.DESCRIPTOR.name == "amaters/wire/aql.proto"

    answer = Reflection([ADMIN]).answer(request_)

    assert answer.error_response.error_code == 5
    assert not answer.HasField("file_descriptor_response")


def test_files_come_with_what_they_import():
    name = aql_pb2.DESCRIPTOR.services_by_name["AqlService"].full_name
    answer = Reflection([aql_pb2.DESCRIPTOR.services_by_name["AqlService"]]).answer(
        ServerReflectionRequest(file_containing_symbol=name)
    )

    pool = DescriptorPool()
    for file in answer.file_descriptor_response.file_descriptor_proto:
        pool.AddSerializedFile(file)
    assert pool.FindServiceByName(name).methods


def test_messages_have_no_extensions():
    kind = "amaters.admin.v1.StatusRequest"

    answer = Reflection([ADMIN]).answer(ServerReflectionRequest(all_extension_numbers_of_type=kind))

    assert answer.all_extension_numbers_response.base_type_name == kind
    assert not answer.all_extension_numbers_response.extension_number


def test_a_long_request_is_refused_and_not_repeated():
    request = ServerReflectionRequest(host="h" * 5000, list_services="")

    with pytest.raises(InvalidRequestError, match="4096 bytes"):
        Reflection([ADMIN]).answer(request)
