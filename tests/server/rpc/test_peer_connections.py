"""One member's connections, and another's listener."""

import asyncio
import dataclasses
import random
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
import pytest
from amaters_server.model.cluster import Member
from amaters_server.node.ports import PeerIdentity
from amaters_server.rpc.peer import link as peer_link
from amaters_server.rpc.peer.certificates import Administrators
from amaters_server.rpc.peer.connections import PeerConnections
from amaters_server.rpc.peer.identities import Identities
from amaters_server.rpc.peer.listener import InternalListener
from amaters_server.rpc.peer.messages import frames, introduction, path
from amaters_server.rpc.peer.service import DELIVER, SERVICE, PeerService
from amaters_server.rpc.transport.channels import Dialer
from amaters_server.rpc.transport.credentials import PeerCredentials
from amaters_server.testing.certificates import Authority
from amaters_server.testing.loopback import free_address, until
from amaters_server.wire import peer_pb2

ME, OTHER = 1, 2


class Node:
    """The node's half of the internal listener, as a record."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.senders: set[int] = set()
        self.refusal = ""
        self.revision = 1
        self.shaken = 0
        self.introductions: list[peer_pb2.HandshakeRequest] = []
        self.reconnect = 0
        self.going_on = True
        self.expel = None
        self.addresses = ("localhost:1",)

    def addresses_of(self, request):
        return self.addresses

    def look_up(self, request):
        pass

    def handshake(self, request):
        self.shaken += 1
        self.introductions.append(request)
        self.reconnect += request.reconnect
        return peer_pb2.HandshakeResponse(
            accepted=not self.refusal,
            reason=self.refusal,
            version_minor=3,
            version_patch=7,
            protocol_revision=self.revision,
        )

    def receive(self, sender, messages) -> bool:
        self.senders.add(sender)
        self.received += messages
        return self.going_on

    async def identify(self, request):
        return peer_pb2.IdentifyResponse(reason=f"hello {request.name}")

    async def forward(self, request):
        if request.add_member.name == "slow":
            await asyncio.sleep(60)
        if request.add_member.name == "broken":
            raise RuntimeError("a defect")
        return peer_pb2.ForwardResponse(members=peer_pb2.MemberReply(member_id=4))

    async def snapshot(self, sender, request) -> AsyncIterator[peer_pb2.ImageChunk]:
        for offset in range(request.offset, 4_000_000, 500_000):
            yield peer_pb2.ImageChunk(offset=offset, data=b"x" * 500_000)


class Pair:
    """One member's connections, and the other's listener."""

    def __init__(self, credentials=lambda: None) -> None:
        self.node = Node()
        self.credentials = credentials
        self.address = free_address().replace("127.0.0.1", "localhost")
        self.connections = PeerConnections(Dialer(), credentials, random.Random(1))
        self.refused: list[str] = []
        self.unwanted = ""
        self.connections.on_answer(self.answered)

    def answered(self, member, response) -> str:
        if not response.accepted:
            self.refused.append(response.reason)
        return self.unwanted or response.reason

    async def listen(self) -> None:
        identities = Identities(self.credentials, Administrators(), time.time)
        service = PeerService(lambda: self.node, identities)
        self.node.expel = service.expel
        self.listener = InternalListener(
            self.address,
            self.credentials,
            (service.methods,),
            (self.connections.renew,),
        )
        identities.serve(self.listener.connection)
        self.service = service
        await self.listener.start()

    def connect(self) -> None:
        own = PeerIdentity("c", ME, (0, 3, 0))
        self.connections.connect(own, [Member(OTHER, "", self.address, "")])

    @property
    def link(self):
        return self.connections._links[OTHER]

    async def connected(self) -> None:
        self.connect()
        await until(lambda: self.link.channel is not None)

    async def close(self) -> None:
        await self.connections.close()
        await self.listener.stop(0)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    await made.listen()
    yield made
    await made.close()


@pytest.mark.slow
async def test_messages_arrive_in_order_and_large_ones_too(pair) -> None:
    await pair.connected()
    sent = [b"%d" % number for number in range(500)] + [b"x" * 5_000_000, b"", b"last"]
    for at in range(0, len(sent), 7):
        assert pair.connections.send(OTHER, sent[at : at + 7])

    await until(lambda: len(pair.node.received) == len(sent))
    assert pair.node.received == sent
    assert pair.node.senders == {ME}
    assert pair.connections.versions() == {OTHER: "0.3.7"}


async def test_nothing_is_sent_before_hands_are_shaken(pair) -> None:
    pair.node.refusal = "not you"
    pair.connect()
    await until(lambda: len(pair.refused) > 1)

    assert not pair.connections.send(OTHER, [b"m"])
    assert set(pair.refused) == {"not you"}
    assert pair.node.received == []

    pair.node.refusal = ""
    await until(lambda: pair.connections.send(OTHER, [b"m"]))
    await until(lambda: pair.node.received == [b"m"])


async def test_who_is_let_in_and_does_not_want_that_sends_nothing(pair) -> None:
    pair.unwanted = "too old for me"
    pair.connect()
    await until(lambda: pair.node.shaken > 1)

    assert pair.link.channel is None
    assert not pair.connections.send(OTHER, [b"m"])

    pair.unwanted = ""
    await until(lambda: pair.link.channel is not None)


async def test_a_stream_of_somebody_who_may_not_is_refused(pair) -> None:
    await pair.connected()
    pair.node.refusal = "not any more"
    pair.service.recycle(0)

    await until(lambda: pair.refused)
    with pytest.raises(OSError, match="no connection"):
        await pair.connections.forward(OTHER, peer_pb2.ForwardRequest(), 5)


@pytest.mark.parametrize("reason", ["recycle", "expel", "enough"])
async def test_a_stream_ended_by_the_other_side_is_opened_anew(pair, reason) -> None:
    await pair.connected()
    assert pair.connections.send(OTHER, [b"before"])
    await until(lambda: pair.node.received)
    shaken = pair.node.shaken

    match reason:
        case "recycle":
            pair.service.recycle(0)
        case "expel":
            pair.node.expel(3)
            pair.node.expel(ME)
        case "enough":
            pair.node.going_on = False
            pair.connections.send(OTHER, [b"one more"])
            await until(lambda: pair.node.shaken > shaken)
            pair.node.going_on = True

    await until(lambda: pair.node.shaken > shaken + 1)
    await until(lambda: pair.connections.send(OTHER, [b"after"]))
    await until(lambda: pair.node.received[-1] == b"after")


async def test_the_other_side_may_come_later_and_go_and_come_again(pair) -> None:
    await pair.listener.stop(0)
    pair.connect()
    await asyncio.sleep(0.1)
    assert not pair.connections.send(OTHER, [b"m"])

    for _ in range(2):
        await pair.listen()
        pair.connections.nudge(OTHER)
        await until(lambda: pair.link.channel is not None)
        await pair.listener.stop(0)
        await until(lambda: pair.link.channel is None)


async def test_calls_are_answered_or_fail_as_errors_of_the_system(pair) -> None:
    with pytest.raises(ConnectionError):
        await pair.connections.forward(OTHER, peer_pb2.ForwardRequest(), 5)
    await pair.connected()

    async def forward(
        seconds: float = 5, name: str = "", hops: int = 1
    ) -> peer_pb2.ForwardResponse:
        request = peer_pb2.ForwardRequest(add_member=peer_pb2.AddMember(name=name), hops=hops)
        return await pair.connections.forward(OTHER, request, seconds)

    assert (await forward()).members.member_id == 4
    with pytest.raises(TimeoutError):
        await forward(0.2, name="slow")
    with pytest.raises(TimeoutError):
        await forward(-1)
    with pytest.raises(ConnectionError):
        await forward(name="broken")
    with pytest.raises(ConnectionError, match="too often"):
        await forward(hops=2)
    pair.node.refusal = "not you"
    with pytest.raises(ConnectionError, match="not you"):
        await forward()


@pytest.mark.parametrize(("revision", "method"), [(0, "add"), (1, "")])
async def test_calls_take_the_form_that_the_other_member_understands(pair, revision, method):
    pair.node.revision, sent = revision, []
    await pair.connected()
    channel = pair.link.channel
    ask = channel.ask

    def recorded(path, request, *rest):
        sent.append(peer_pb2.ForwardRequest.FromString(request))
        return ask(path, request, *rest)

    channel.ask = recorded
    request = peer_pb2.ForwardRequest(add_member=peer_pb2.AddMember(name="new"), hops=1)
    answer = await pair.connections.forward(OTHER, request, 5)

    assert (sent[0].method, sent[0].WhichOneof("call")) == (
        method,
        None if method else "add_member",
    )
    assert answer.members.member_id == 4


async def test_anyone_may_ask_who_is_there(pair) -> None:
    request = peer_pb2.IdentifyRequest(name="stranger")

    answer = await pair.connections.identify(pair.address, request, 5)
    with pytest.raises(ConnectionError):
        await pair.connections.identify(free_address(), request, 5)

    assert answer.reason == "hello stranger"


async def test_snapshots_travel(pair) -> None:
    await pair.connected()
    request = peer_pb2.FetchImageRequest(offset=1_000_000)

    chunks = [chunk async for chunk in pair.connections.fetch_snapshot(OTHER, request)]

    assert [chunk.offset for chunk in chunks] == list(range(1_000_000, 4_000_000, 500_000))


async def test_images_that_break_off_are_errors_of_the_system(pair) -> None:
    await pair.connected()
    snapshots = pair.node.snapshot

    async def fetch(source: int = OTHER) -> list[int]:
        request = peer_pb2.FetchImageRequest()
        return [chunk.offset async for chunk in pair.connections.fetch_snapshot(source, request)]

    async def broken(sender, request):
        async for chunk in snapshots(sender, request):
            yield chunk
            raise RuntimeError("a defect")

    async def nonsense(sender, request):
        yield Nonsense()

    for snapshot in (broken, nonsense):
        pair.node.snapshot = snapshot
        with pytest.raises(ConnectionError):
            await fetch()
    with pytest.raises(ConnectionError, match="is not known"):
        await fetch(7)
    pair.node.snapshot = snapshots

    assert len(await fetch()) == 8


async def test_an_image_that_is_not_wanted_any_more_is_not_sent_on(pair) -> None:
    await pair.connected()
    ended, sent = asyncio.Event(), 0

    async def endless(sender, request):
        nonlocal sent
        try:
            while True:
                yield peer_pb2.ImageChunk(data=bytes(500_000))
                sent += 1
        finally:
            ended.set()

    pair.node.snapshot = endless
    request = peer_pb2.FetchImageRequest()
    async with aclosing(pair.connections.fetch_snapshot(OTHER, request)) as chunks:
        await anext(chunks)
        await asyncio.sleep(0.2)
        before = sent
    async with asyncio.timeout(10):
        await ended.wait()

    assert before < 100, "nothing holds the sender back"


@pytest.mark.slow
async def test_a_peer_that_takes_nothing_costs_a_bounded_queue(pair) -> None:
    await pair.connected()
    piece, kept = b"x" * 4_000_000, 0
    # Without giving way to the event loop once, so nothing can be taken meanwhile.
    while pair.connections.send(OTHER, [piece]):
        kept += 1
        assert kept < 50, "nothing is ever dropped"

    await until(lambda: len(pair.node.received) == kept)


class Nonsense:
    def SerializeToString(self) -> bytes:  # noqa: N802
        return b"\xff\xff"


@pytest.mark.slow
async def test_answers_that_make_no_sense_are_a_broken_connection() -> None:
    pair = Pair()
    handshake = pair.node.handshake
    pair.node.handshake = lambda request: Nonsense()
    await pair.listen()
    try:
        pair.connect()
        await asyncio.sleep(0.3)
        assert pair.link.channel is None

        pair.node.handshake = handshake
        await until(lambda: pair.link.channel is not None)
    finally:
        await pair.close()


class Secret:
    """Credentials that can be replaced."""

    def __init__(self) -> None:
        self.authority = Authority()
        self.renew()

    def renew(self) -> None:
        issued = self.authority.issue()
        self.now = PeerCredentials(issued.certificate, issued.key, self.authority.pem)

    def __call__(self) -> PeerCredentials:
        return self.now


@pytest.mark.slow
async def test_mutual_tls_and_a_new_certificate() -> None:
    secret = Secret()
    pair = Pair(secret)
    await pair.listen()
    try:
        await pair.connected()
        secret.renew()
        await until(lambda: pair.link.shown == secret.now)

        assert pair.connections.send(OTHER, [b"m"])
        await until(lambda: pair.node.received == [b"m"])

        # What cannot be used leaves everything as it is.
        good, secret.now = secret.now, PeerCredentials(b"no", b"certificate", b"at all")
        await asyncio.sleep(1.5)
        secret.now = good
        await until(lambda: pair.connections.send(OTHER, [b"m"]))

        pair.connections._credentials = lambda: Secret().now
        with pytest.raises(ConnectionError):
            await pair.connections.identify(pair.address, peer_pb2.IdentifyRequest(), 5)
    finally:
        await pair.close()


async def test_a_refusal_at_first_is_information_and_a_lost_link_a_warning(pair, caplog) -> None:
    caplog.set_level("INFO", logger="amaters_server.rpc.peer.link")
    pair.node.refusal = "not yet"
    pair.connect()
    await until(lambda: pair.refused)
    pair.node.refusal = ""
    await until(lambda: pair.link.channel is not None)
    pair.node.refusal = "not any more"
    pair.service.recycle(0)

    def said():
        return [(one.levelname, one.message) for one in caplog.records]

    await until(lambda: said()[-1] == ("WARNING", "peer.refused_us"))
    assert "not any more" in pair.refused
    assert said()[:2] == [("INFO", "peer.refused_us"), ("INFO", "peer.connected")]
    # The end of the stream may be met as a broken connection first.
    assert {level for level, _ in said()[2:]} == {"WARNING"}


async def refusal_of(call) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code(), raised.value.details()


async def test_malformed_messages_of_peers_are_invalid_arguments(pair) -> None:
    forward = peer_pb2.ForwardRequest(method="add", request=b"\xff").SerializeToString()
    async with grpc.aio.insecure_channel(pair.address) as channel:
        handshake = channel.unary_unary(f"/{SERVICE.full_name}/Handshake")
        passing_on = channel.unary_unary(f"/{SERVICE.full_name}/Forward")
        deliver = channel.stream_unary(DELIVER)

        assert await refusal_of(handshake(b"\xff", timeout=10)) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "this is no HandshakeRequest",
        )
        assert await refusal_of(passing_on(forward, timeout=10)) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "this is no request of 'add'",
        )
        assert await refusal_of(deliver(iter([b"\xff"]), timeout=10)) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "this is no Frame",
        )


@pytest.mark.parametrize("number", ["9" * 30, "9" * 20, "-1", "1e3"])
async def test_an_introduction_with_a_number_no_field_holds_is_answered(pair, number) -> None:
    introduced = tuple((f"amaters-{name}", number) for name in ("from", "to", "version"))
    async with grpc.aio.insecure_channel(pair.address) as channel:
        deliver = channel.stream_unary(DELIVER)

        await deliver(iter([b""]), timeout=10, metadata=introduced)

    said = pair.node.introductions[-1]
    assert (said.sender, said.to, said.version_major) == (0, 0, 0)


async def sending(pair, seconds: float) -> list[bytes]:
    """Send numbers for that long; not one may be dropped on the way out."""
    sent: list[bytes] = []
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        sent.append(b"%d" % len(sent))
        assert pair.connections.send(OTHER, sent[-1:]), f"message {len(sent)} was dropped"
        await asyncio.sleep(0.001)
    return sent


@pytest.fixture
async def secured() -> AsyncIterator[tuple[Pair, Secret]]:
    secret = Secret()
    made = Pair(secret)
    await made.listen()
    await made.connected()
    yield made, secret
    await made.close()


@pytest.mark.slow
async def test_no_message_is_lost_while_a_connection_is_renewed(secured) -> None:
    pair, secret = secured
    under_way = asyncio.create_task(sending(pair, 2.5))
    await asyncio.sleep(0.1)
    secret.renew()

    sent = await under_way
    await until(lambda: len(pair.node.received) == len(sent))
    assert sorted(pair.node.received) == sorted(sent)
    assert pair.link.shown == secret.now
    assert pair.node.reconnect == 1


async def test_a_call_under_way_is_answered_although_its_connection_is_renewed(pair) -> None:
    await pair.connected()
    before, asked = pair.link.channel, asyncio.Event()

    async def forward(request):
        asked.set()
        await until(lambda: pair.link.channel is not before)
        return peer_pb2.ForwardResponse(members=peer_pb2.MemberReply(member_id=4))

    pair.node.forward = forward
    call = asyncio.create_task(pair.connections.forward(OTHER, peer_pb2.ForwardRequest(), 5))
    await asked.wait()
    pair.connections.renew()

    assert (await call).members.member_id == 4


async def test_a_member_that_asks_for_it_is_connected_to_anew(pair) -> None:
    await pair.connected()
    before = pair.link.channel
    pair.connections.nudge(OTHER)
    await asyncio.sleep(0.1)
    assert pair.link.channel is before

    pair.connections.nudge(OTHER, reconnect=True)
    await until(lambda: pair.link.channel is not before)
    # Otherwise two members would go on asking each other.
    assert pair.node.reconnect == 0


async def test_a_member_in_doubt_is_asked_again_but_not_all_the_time(pair, monkeypatch) -> None:
    await pair.connected()
    channels = [pair.link.channel]
    for _ in range(50):
        pair.connections.ask_again(OTHER)
        await asyncio.sleep(0.005)
        if pair.link.channel is not channels[-1]:
            channels.append(pair.link.channel)
    assert len(channels) == 2

    monkeypatch.setattr(peer_link, "ASK_AGAIN_SECONDS", 0.1)
    pair.connections.ask_again(OTHER)
    await until(lambda: pair.link.channel not in channels)


@pytest.mark.slow
async def test_a_connection_goes_on_while_no_other_can_be_had(secured, monkeypatch) -> None:
    monkeypatch.setattr(peer_link, "RENEW_AGAIN_SECONDS", 0.05)
    pair, good = secured
    before, stranger = pair.link.channel, Secret()
    pair.connections._credentials = stranger
    pair.link._parts = dataclasses.replace(pair.link._parts, credentials=stranger)
    pair.connections.renew()
    sent = await sending(pair, 0.5)
    await until(lambda: len(pair.node.received) == len(sent))
    assert pair.link.channel is before

    pair.link._parts = dataclasses.replace(pair.link._parts, credentials=good)
    await until(lambda: pair.link.channel not in (before, None))


async def test_streams_that_nobody_renews_are_ended_after_a_while(pair) -> None:
    await pair.connected()
    before = pair.link.channel
    sent = await sending(pair, 0.01)
    await until(lambda: len(pair.node.received) == len(sent))
    pair.service.recycle(0.3)
    await sending(pair, 0.1)
    assert pair.link.channel is before

    await until(lambda: pair.link.channel not in (before, None))


async def test_a_stream_that_opens_late_on_a_recycled_connection_is_ended_too() -> None:
    pair = Pair()
    await pair.listen()
    introduced = introduction(PeerIdentity("c", ME, (0, 3, 0)), OTHER)
    dialer = Dialer()
    old = dialer.dial(pair.address, None)
    try:
        await old.ask(path("Handshake"), b"", 5)
        pair.service.recycle(0.2)
        new = dialer.dial(pair.address, None)
        late, renewed = (one.open(path("Deliver"), introduced, frames) for one in (old, new))
        renewed.send([b"m"])
        await asyncio.wait_for(late.carry(), 5)

        renewed.send([b"n"])
        await until(lambda: pair.node.received == [b"m", b"n"])
    finally:
        await dialer.close()
        await pair.close()


@pytest.fixture
def short_silence(monkeypatch) -> None:
    monkeypatch.setattr(peer_link, "SILENT_SECONDS", 0.05)


@pytest.mark.slow
async def test_a_member_of_which_nothing_is_heard_is_connected_to_anew(
    pair, short_silence, caplog
) -> None:
    receive = pair.node.receive

    def answered(sender, messages) -> bool:
        pair.connections.received_from(OTHER)
        return receive(sender, messages)

    pair.node.receive = answered
    await pair.connected()
    before = pair.link.channel
    await sending(pair, 0.5)
    assert pair.link.channel is before

    # The connection lives, and its stream leads nowhere: what arrives is nobody's.
    pair.node.receive = lambda sender, messages: True
    pair.service._deliveries._received = lambda member: None
    until_renewed = asyncio.create_task(sending(pair, 1))
    await until(lambda: pair.link.channel is not before)
    assert pair.node.reconnect, "the other side connects again as well"
    assert [one.message for one in caplog.records if one.levelname == "WARNING"] == ["peer.silent"]

    pair.node.receive = answered
    await until_renewed
    assert pair.node.received


@pytest.mark.slow
async def test_reconnecting_in_vain_becomes_rare(pair, short_silence) -> None:
    await pair.connected()
    await sending(pair, 2.2)

    assert 2 <= pair.node.reconnect <= 4


async def test_a_member_that_is_asked_nothing_may_be_silent(pair, short_silence) -> None:
    await pair.connected()
    before = pair.link.channel
    await asyncio.sleep(0.4)

    assert pair.link.channel is before


@pytest.mark.slow
async def test_a_renewed_stream_outlives_the_end_of_the_old_ones(pair) -> None:
    await pair.connected()
    before = pair.link.channel
    pair.service.recycle(0.3)
    pair.connections.renew()
    await until(lambda: pair.link.channel is not before)
    renewed = pair.link.channel

    sent = await sending(pair, 0.6)
    await until(lambda: len(pair.node.received) == len(sent))
    assert pair.link.channel is renewed
