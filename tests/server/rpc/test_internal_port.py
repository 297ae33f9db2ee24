"""Who gets what on a real internal listener, with real certificates."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import grpc
import pytest
from amaters.wire import admin_pb2, admin_pb2_grpc
from amaters_server.access.audit import Audit
from amaters_server.model.errors import AuthenticationError
from amaters_server.rpc.admin.service import SERVICE
from amaters_server.rpc.peer import identities
from amaters_server.rpc.peer.administration import Administration, guarded
from amaters_server.rpc.peer.certificates import Administrators
from amaters_server.rpc.peer.identities import Identities, Refusal, RefusalLog
from amaters_server.rpc.peer.listener import InternalListener
from amaters_server.rpc.peer.service import PeerService
from amaters_server.rpc.transport.credentials import PeerCredentials
from amaters_server.rpc.transport.servicers import served
from amaters_server.testing.certificates import Authority
from amaters_server.wire import peer_pb2, peer_pb2_grpc
from typing_extensions import override

CLUSTER = "the-cluster"
ADDRESSES = {1: "10.0.0.1:7879", 2: "10.0.0.2:7879", 3: "10.0.0.3:7879"}
OPERATOR = "amaters-operator"
DENIED, UNAUTHENTICATED = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED


class Member:
    """Member 1, which knows 2 and 3, as a record of what was passed to it."""

    def __init__(self):
        self.received, self.calls = [], []

    def addresses_of(self, request):
        if request.sender == 9:  # It was removed.
            return None
        return (ADDRESSES[request.sender],) if request.sender in ADDRESSES else ()

    def look_up(self, request):
        pass

    def handshake(self, request):
        if request.sender == 9:
            return peer_pb2.HandshakeResponse(removed=True, reason="removed")
        return peer_pb2.HandshakeResponse(accepted=True, cluster_id=CLUSTER)

    def receive(self, sender, messages):
        self.received.append((sender, list(messages)))
        return True

    async def identify(self, request):
        return peer_pb2.IdentifyResponse(cluster_id=CLUSTER)

    async def forward(self, request):
        self.calls.append(request.WhichOneof("call"))
        return peer_pb2.ForwardResponse(members=peer_pb2.MemberReply(cluster_id=CLUSTER))

    async def snapshot(self, sender, request) -> AsyncIterator[peer_pb2.ImageChunk]:
        self.calls.append(f"image for {sender}")
        yield peer_pb2.ImageChunk(data=b"all data")


class Servicer(admin_pb2_grpc.AdminServiceServicer):
    @override
    async def Status(self, request, context):
        return admin_pb2.StatusResponse()

    @override
    async def RemoveMember(self, request, context):
        return admin_pb2.MembersResponse(cluster_id=CLUSTER)

    @override
    async def TailLog(self, request, context):
        yield admin_pb2.LogRecord(event="secret")


class Port:
    """One internal listener, and callers with certificates."""

    def __init__(self, *principals, authority=None):
        self.authority = authority or Authority()
        self.own = self.credentials("node-1", "10.0.0.1", "localhost")
        self.node = Member()
        self.identities = Identities(self.credentials_now, Administrators(principals), time.time)
        self.audit = Lines()
        self.log = Audit(self.audit, on_failure="drop")
        self.administration = Administration(self.identities, self.log, "changes")
        peers = PeerService(lambda: self.node, self.identities)
        self.listener = InternalListener(
            "127.0.0.1:0",
            self.credentials_now,
            (
                peers.methods,
                lambda tasks: guarded(
                    served(Servicer(), SERVICE, tasks),
                    self.require,
                ),
            ),
        )
        self.identities.serve(self.listener.connection)

    def require(self, method, connection):
        self.administration.require(method, connection)

    def credentials_now(self):
        return self.own

    def credentials(self, name, *names, authority=None):
        authority = authority or self.authority
        issued = authority.issue_for(name, *names)
        return PeerCredentials(issued.certificate, issued.key, self.authority.pem)

    def channel(self, shown):
        tls = grpc.ssl_channel_credentials(shown.ca, shown.key, shown.certificate)
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.secure_channel(f"localhost:{self.listener.port}", tls, options)

    def refused(self):
        return self.identities.refusals.counts


class Lines:
    """An audit file in memory."""

    def __init__(self):
        self.lines = []

    def write(self, content):
        self.lines += map(json.loads, content.splitlines())

    def close(self):
        pass


@pytest.fixture
async def port():
    made = Port()
    await made.listener.start()
    yield made
    await made.listener.stop(0)
    made.log.close()


@pytest.fixture
async def strict():
    """As `port`, with administrators named."""
    made = Port(OPERATOR)
    await made.listener.start()
    yield made
    await made.listener.stop(0)
    made.log.close()


def introduction(sender, to=1):
    return (
        ("amaters-cluster", CLUSTER),
        ("amaters-from", str(sender)),
        ("amaters-to", str(to)),
        ("amaters-version", "0.3.0"),
    )


async def handshake(port, shown, sender):
    async with port.channel(shown) as channel:
        stub = peer_pb2_grpc.PeerServiceStub(channel)
        request = peer_pb2.HandshakeRequest(cluster_id=CLUSTER, sender=sender, to=1)
        return await stub.Handshake(request, timeout=5)


async def outcome(call):
    """Return OK, or the status that a call ended with."""
    try:
        async for _ in call:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


async def deliver(port, shown, sender, claimed=None):
    """Send one raft message in the name of a member."""

    async def frames():
        yield peer_pb2.Frame(messages=[b"heartbeat"]).SerializeToString()

    async with port.channel(shown) as channel:
        method = channel.stream_unary("/amaters.peer.v1.PeerService/Deliver")
        try:
            await method(frames(), timeout=5, metadata=introduction(sender))
        except grpc.aio.AioRpcError as error:
            return error.details()
    return ""


async def administer(port, shown):
    """Return what each method of the admin service ends with."""
    async with port.channel(shown) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        found = []
        for call in (
            stub.Status(admin_pb2.StatusRequest(), timeout=5),
            stub.RemoveMember(admin_pb2.RemoveMemberRequest(id=2), timeout=5),
        ):
            try:
                await call
                found.append(grpc.StatusCode.OK)
            except grpc.aio.AioRpcError as error:
                found.append(error.code())
        code, _ = await outcome(stub.TailLog(admin_pb2.TailLogRequest(), timeout=5))
        return [*found, code]


class TestMembers:
    async def test_a_member_is_let_in_as_itself(self, port):
        second = port.credentials("node-2", "10.0.0.2")

        assert (await handshake(port, second, 2)).accepted
        assert await deliver(port, second, 2) == ""
        assert port.node.received == [(2, [b"heartbeat"])]
        assert port.refused()[Refusal.SENDER] == 0

    async def test_and_as_no_other_member(self, port):
        second = port.credentials("node-2", "10.0.0.2")

        answer = await handshake(port, second, 3)
        refusal = await deliver(port, second, 3)

        assert not answer.accepted
        assert answer.cluster_id == ""
        assert "member 3 is at 10.0.0.3:7879" in answer.reason
        assert refusal == answer.reason
        assert port.node.received == []
        assert port.refused()[Refusal.SENDER] == 2

    @pytest.mark.parametrize("name", ["app", OPERATOR])
    async def test_neither_an_application_nor_the_operator_is_a_member(self, strict, name):
        shown = strict.credentials(name, f"{name}.shop.svc")

        assert [(await handshake(strict, shown, one)).accepted for one in (1, 2, 3, 4)] == [
            False
        ] * 4
        assert await deliver(strict, shown, 2)
        assert strict.node.received == []

    async def test_calls_and_snapshots_are_for_the_member_that_asks(self, port):
        second = port.credentials("node-2", "10.0.0.2")
        removal = peer_pb2.ForwardRequest(remove_member=peer_pb2.RemoveMember(id=3), hops=1)
        async with port.channel(second) as channel:
            stub = peer_pb2_grpc.PeerServiceStub(channel)
            for sender in (3, 2):
                known = introduction(sender)
                image = stub.FetchImage(peer_pb2.FetchImageRequest(), timeout=5, metadata=known)
                code, _ = await outcome(image)
                assert (code is grpc.StatusCode.OK) is (sender == 2)
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.Forward(removal, timeout=5, metadata=introduction(3))
            await stub.Forward(removal, timeout=5, metadata=introduction(2))

        assert port.node.calls == ["image for 2", "remove_member"]

    @pytest.mark.parametrize(
        "call",
        [
            peer_pb2.ForwardRequest(stopping_member=peer_pb2.StoppingMember(id=3)),
            peer_pb2.ForwardRequest(
                announce_member=peer_pb2.AnnounceMember(id=3, peer_address="10.0.0.2:7879")
            ),
            peer_pb2.ForwardRequest(
                announce_member=peer_pb2.AnnounceMember(id=2, peer_address="10.0.0.3:7879")
            ),
            peer_pb2.ForwardRequest(
                method="announce",
                request=peer_pb2.AnnounceMember(
                    id=3, peer_address="10.0.0.2:7879"
                ).SerializeToString(),
            ),
        ],
        ids=["stop of another", "another", "address of another", "in strings"],
    )
    async def test_members_announce_only_themselves(self, port, call):
        async with port.channel(port.credentials("node-2", "10.0.0.2")) as channel:
            stub = peer_pb2_grpc.PeerServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.Forward(call, timeout=5, metadata=introduction(2))

        assert port.node.calls == []
        assert port.refused()[Refusal.SENDER] == 1

    async def test_a_member_that_was_removed_learns_it_whatever_its_certificate(self, port):
        answer = await handshake(port, port.credentials("node-9", "10.0.0.9"), 9)

        assert answer.removed

    async def test_a_new_member_waits_until_it_is_known_or_shares_the_certificate(self, port):
        fourth = port.credentials("node-4", "10.0.0.4")

        assert "not known here yet" in (await handshake(port, fourth, 4)).reason
        assert (await handshake(port, port.own, 4)).accepted

    async def test_an_empty_disk_asks_for_its_own_address_alone(self, port):
        async with port.channel(port.credentials("node-4", "10.0.0.4")) as channel:
            stub = peer_pb2_grpc.PeerServiceStub(channel)

            async def identify(address):
                request = peer_pb2.IdentifyRequest(peer_address=address)
                return await stub.Identify(request, timeout=5)

            assert (await identify("10.0.0.4:7879")).cluster_id == CLUSTER
            for other in ("10.0.0.3:7879", ""):
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await identify(other)
                assert raised.value.code() is UNAUTHENTICATED


class TestAdministrators:
    async def test_without_principals_the_nodes_own_names_administer(self, port):
        renewed = port.credentials("node-1", "10.0.0.1", "localhost")

        assert await administer(port, renewed) == [grpc.StatusCode.OK] * 3

    @pytest.mark.parametrize(
        ("name", "names"),
        [
            ("app", ("10.0.0.1", "localhost")),
            ("node-2", ("10.0.0.2",)),
            (OPERATOR, ("operator.tools.svc",)),
        ],
    )
    async def test_and_no_other_certificate_of_the_authority_does(self, port, name, names):
        assert await administer(port, port.credentials(name, *names)) == [DENIED] * 3
        assert port.refused()[Refusal.ADMINISTRATION] == 3

    async def test_with_principals_only_those_administer(self, strict):
        assert await administer(strict, strict.credentials(OPERATOR)) == [grpc.StatusCode.OK] * 3
        assert await administer(strict, strict.own) == [DENIED] * 3

    async def test_the_refusal_names_the_caller_and_what_it_lacks(self, port):
        async with port.channel(port.credentials("app", "app.shop.svc")) as channel:
            stub = admin_pb2_grpc.AdminServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.RemoveMember(admin_pb2.RemoveMemberRequest(id=2), timeout=5)

        assert "User 'app' with role 'member' not authorized to Admin" in raised.value.details()
        assert "cluster.admin_principals" in raised.value.details()
        assert CLUSTER not in raised.value.details()

    async def test_what_is_changed_and_denied_is_audited(self, strict):
        await administer(strict, strict.credentials(OPERATOR))
        await administer(strict, strict.credentials("app"))
        async with asyncio.timeout(5):
            while len(strict.audit.lines) < 5:
                await asyncio.sleep(0.05)

        found = [
            (one["principal"]["name"], one["result"], one["metadata"]["operation"])
            for one in strict.audit.lines
        ]
        assert sorted(found) == [
            (OPERATOR, "success", "RemoveMember"),
            (OPERATOR, "success", "TailLog"),
            ("app", "denied", "RemoveMember"),
            ("app", "denied", "Status"),
            ("app", "denied", "TailLog"),
        ]
        assert {one["source_ip"] for one in strict.audit.lines} == {"127.0.0.1"}


async def test_a_certificate_of_another_authority_gets_no_answer(port):
    other = port.credentials("node-1", "10.0.0.1", "localhost", authority=Authority())

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await handshake(port, other, 2)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_caller_that_has_left_is_neither_answered_nor_counted(port, caplog):
    port.identities.serve(lambda _: None)

    assert port.identities.impostor(7, "member 2", [ADDRESSES[2]])
    with pytest.raises(AuthenticationError):
        port.administration.require("RemoveMember", 7)
    assert set(port.refused().values()) == {0}
    assert not [one for one in caplog.records if one.message == "internal.refused"]


async def test_without_an_audit_log_administration_is_a_line_of_the_servers_log(port, caplog):
    caplog.set_level("INFO")
    port.administration = Administration(port.identities, None, "changes")

    await administer(port, port.own)

    lines = [one for one in caplog.records if one.message == "admin.called"]
    assert [(one.method, one.principal, one.address) for one in lines] == [
        ("RemoveMember", "node-1", "127.0.0.1"),
        ("TailLog", "node-1", "127.0.0.1"),
    ]


async def test_refusals_are_counted_and_logged_once_a_minute(port, caplog):
    second = port.credentials("node-2", "10.0.0.2")
    for _ in range(20):
        await handshake(port, second, 3)

    lines = [one for one in caplog.records if one.message == "internal.refused"]
    assert port.refused()[Refusal.SENDER] == 20
    assert [(one.address, one.refused, one.count) for one in lines] == [("127.0.0.1", "sender", 1)]
    assert "10.0.0.3" in lines[0].reason


def test_a_minute_later_the_line_has_the_count_and_addresses_are_bounded(caplog):
    log = RefusalLog()
    for second in range(0, 130, 10):
        log.add(Refusal.SENDER, "10.0.0.9", "why", float(second))
    assert [one.count for one in caplog.records] == [1, 7, 13]

    caplog.clear()
    for number in range(1000):
        log.add(Refusal.SENDER, f"host-{number}", "why", 130.0)
    assert len(caplog.records) < identities.MOST_REMEMBERED
    assert log.counts[Refusal.SENDER] == 1013
    log.add(Refusal.SENDER, "host-999", "why", 500.0)
    assert caplog.records[-1].address == "host-999"
