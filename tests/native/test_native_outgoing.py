"""Calls to other servers: our own, grpcio's, and things that are no server at all."""

import asyncio
import socket
from contextlib import asynccontextmanager

import grpc
import pytest
from amaters_native.transport import ClientIdentity, TlsIdentity
from amaters_server.testing.certificates import Authority

ECHO, COLLECT = "/demo.Service/Echo", "/demo.Service/Collect"
DOWNLOAD = "/demo.Service/Download"
OK, CANCELLED, UNKNOWN, DEADLINE, EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE = 0, 1, 2, 4, 8, 12, 14
QUEUE = 1 << 20


class Grpcio(grpc.GenericRpcHandler):
    """Echoes, and joins what a stream brings."""

    def __init__(self) -> None:
        self.metadata: list[tuple[str, str]] = []

    def service(self, details: grpc.HandlerCallDetails):
        self.metadata = [tuple(pair) for pair in details.invocation_metadata]
        if details.method == ECHO:
            return grpc.unary_unary_rpc_method_handler(self.echo)
        if details.method == COLLECT:
            return grpc.stream_unary_rpc_method_handler(self.collect)
        if details.method == DOWNLOAD:
            return grpc.unary_stream_rpc_method_handler(self.download)
        return None

    async def download(self, message: bytes, context):
        count, size = map(int, message.split())
        for number in range(count):
            yield b"%07d" % number + bytes(size)
        if size == 1:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "50% über\n")

    async def echo(self, message: bytes, context) -> bytes:
        if message == b"fail":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "50% über\n")
        if message == b"sleep":
            await asyncio.sleep(60)
        return message

    async def collect(self, messages, context) -> bytes:
        return b"".join([message async for message in messages])


@asynccontextmanager
async def grpcio(credentials: grpc.ServerCredentials | None = None, address: str = "127.0.0.1:0"):
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    handler = Grpcio()
    server.add_generic_rpc_handlers((handler,))
    if credentials is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, credentials)
    await server.start()
    try:
        yield port, handler
    finally:
        await server.stop(0)


async def test_unary_calls_of_a_grpcio_server(outgoing) -> None:
    async with grpcio() as (port, handler):
        channel = outgoing.to(f"localhost:{port}")
        large = b"x" * 3_000_000

        first = channel.unary(ECHO, b"hello", metadata=[("x-from", "7")])
        assert await outgoing.outcome(first) == (OK, "", b"hello")
        assert ("x-from", "7") in handler.metadata
        assert await outgoing.outcome(channel.unary(ECHO, b"")) == (OK, "", b"")
        assert await outgoing.outcome(channel.unary(ECHO, large)) == (OK, "", large)
        assert await outgoing.outcome(channel.unary(ECHO, b"fail")) == (9, "50% über\n", None)
        assert (await outgoing.outcome(channel.unary("/a/b", b"")))[0] == UNIMPLEMENTED
        late = channel.unary(ECHO, b"sleep", timeout_seconds=0.2)
        assert (await outgoing.outcome(late))[0] == DEADLINE


async def test_a_stream_to_a_grpcio_server(outgoing) -> None:
    async with grpcio() as (port, _):
        channel = outgoing.to(f"127.0.0.1:{port}")
        stream = channel.open(COLLECT, max_queued_bytes=64 << 20)
        pieces = [b"%07d" % number for number in range(1000)] + [b"x" * 6_000_000]
        assert stream.send(pieces[:500])
        assert stream.send(pieces[500:])
        stream.finish()

        assert await outgoing.outcome(stream.id) == (OK, "", b"".join(pieces))
        assert not stream.send([b"late"])


async def downloaded(outgoing, download) -> list[bytes]:
    """All messages of a download, up to its end."""
    found: list[bytes] = []
    async with asyncio.timeout(60):
        while download.id not in outgoing.ended:
            outgoing.changed.clear()
            found += download.take()
            if download.id not in outgoing.ended:
                await outgoing.changed.wait()
    return found + download.take()


async def test_a_download_from_a_grpcio_server(outgoing) -> None:
    async with grpcio() as (port, handler):
        channel = outgoing.to(f"127.0.0.1:{port}")
        for count, size in ((0, 0), (1000, 20), (5, 3_000_000)):
            download = channel.download(
                DOWNLOAD, b"%d %d" % (count, size), max_waiting_bytes=0, metadata=[("x-from", "7")]
            )
            expected = [b"%07d" % number + bytes(size) for number in range(count)]
            assert await downloaded(outgoing, download) == expected
            assert outgoing.ended[download.id][1:] == (OK, "", b"")

    assert ("x-from", "7") in handler.metadata


async def test_a_download_that_fails_says_why_after_what_came(outgoing) -> None:
    async with grpcio() as (port, _):
        channel = outgoing.to(f"127.0.0.1:{port}")
        download = channel.download(DOWNLOAD, b"3 1", max_waiting_bytes=QUEUE)
        assert len(await downloaded(outgoing, download)) == 3
        assert outgoing.ended[download.id][1:] == (9, "50% über\n", None)
        missing = channel.download("/demo.Service/Nothing", b"", max_waiting_bytes=QUEUE)
        assert await downloaded(outgoing, missing) == []
        assert outgoing.ended[missing.id][1] == UNIMPLEMENTED
        small = outgoing.to(f"127.0.0.1:{port}", max_message_bytes=10)
        large = small.download(DOWNLOAD, b"1 100", max_waiting_bytes=QUEUE)
        assert await downloaded(outgoing, large) == []
        assert outgoing.ended[large.id][1] == EXHAUSTED


async def test_a_download_is_read_no_faster_than_it_is_taken(serving, outgoing) -> None:
    piece, queued = bytes(64 << 10), []

    def answer(server, call) -> None:
        queued.extend(server.listener.send(call[0], piece) for _ in range(200))
        server.listener.finish(call[0])

    async with serving(answer) as server:
        channel = outgoing.to(server.target)
        download = channel.download(DOWNLOAD, b"", max_waiting_bytes=1 << 20)
        await server.until(lambda: queued)
        before = -1
        while before != server.listener.held():
            before = server.listener.held()
            await asyncio.sleep(0.2)

        # A window of HTTP/2, and the buffers of sockets, come on top.
        assert before > 5 << 20
        assert b"".join(await downloaded(outgoing, download)) == piece * 200


@pytest.mark.parametrize("begun", [True, False])
async def test_a_download_that_is_not_wanted_ends_at_once(serving, outgoing, begun: bool) -> None:
    """Not with its next message: there may be none for hours."""

    def answer(server, call) -> None:
        if begun:
            server.listener.send(call[0], b"first")

    async with serving(answer) as server:
        channel = outgoing.to(server.target)
        download = channel.download(DOWNLOAD, b"", max_waiting_bytes=1 << 20)
        await server.until(lambda: server.calls)
        async with asyncio.timeout(5):
            while begun and download.take() != [b"first"]:
                await asyncio.sleep(0.01)

            download.close()

            assert (await outgoing.outcome(download.id))[0] == CANCELLED
            await server.until(lambda: server.cancelled)


@pytest.mark.parametrize("how", ["close", "drop"])
async def test_a_download_that_is_not_wanted_ends(serving, outgoing, how: str) -> None:
    def answer(server, call) -> None:
        while server.listener.send(call[0], bytes(64 << 10)) < 10 << 20:
            pass

    async with serving(answer) as server:
        channel = outgoing.to(server.target)
        download = channel.download(DOWNLOAD, b"", max_waiting_bytes=0)
        call_id = download.id
        async with asyncio.timeout(60):
            while call_id not in outgoing.connector.take_readable():
                await asyncio.sleep(0.01)
        if how == "close":
            download.close()
        del download

        assert (await outgoing.outcome(call_id))[0] == CANCELLED
        await server.until(lambda: server.cancelled)
        async with asyncio.timeout(60):
            while server.listener.held():
                await asyncio.sleep(0.01)


async def test_both_halves_together(serving, outgoing) -> None:
    async with serving(lambda *_: None, inbound_streams=[COLLECT]) as server:
        channel = outgoing.to(server.target)
        stream = channel.open(COLLECT, max_queued_bytes=QUEUE, metadata=[("x-from", "7")])
        for number in range(100):
            assert stream.send([b"%03d" % number])
        await server.until(lambda: len(server.received()) == 300)
        server.listener.reply([(server.calls[0][0], b"sum")])

        assert await outgoing.outcome(stream.id) == (OK, "", b"sum")

    assert server.received() == b"".join(b"%03d" % number for number in range(100))
    assert server.calls[0][4] == [("x-from", "7")]


async def test_what_a_peer_does_not_read_is_dropped_beyond_the_bound(serving, outgoing) -> None:
    settings = {"inbound_streams": [COLLECT], "inbound_backlog_bytes": 1000}
    async with serving(lambda *_: None, **settings) as server:
        server.reading = False
        channel = outgoing.to(server.target)
        stream = channel.open(COLLECT, max_queued_bytes=QUEUE)
        piece, kept = b"x" * 100_000, 0
        while stream.send([piece]):
            kept += 1
            assert kept < 1000, "nothing is ever dropped"
            await asyncio.sleep(0.001)

        server.reading = True
        server.wake_now()
        await server.until(lambda: len(server.received()) == kept * len(piece))
        assert stream.send([b"again"])


async def test_a_channel_without_a_server_ends_its_calls(outgoing) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        channel = outgoing.to(f"127.0.0.1:{free.getsockname()[1]}")
        stream = channel.open(COLLECT, max_queued_bytes=QUEUE)

        code, text, _ = await outgoing.outcome(channel.unary(ECHO, b""))
        assert (code, (await outgoing.outcome(stream.id))[0]) == (UNAVAILABLE, UNAVAILABLE)
        assert "cannot connect" in text
        # Also those that come too late to know.
        assert (await outgoing.outcome(channel.unary(ECHO, b"")))[0] == UNAVAILABLE
        assert not stream.send([b"late"])


async def test_a_name_that_does_not_exist_and_one_that_makes_no_sense(outgoing) -> None:
    for address in ("no-such-host.invalid:1", "127.0.0.1"):
        channel = outgoing.to(address)
        assert (await outgoing.outcome(channel.unary(ECHO, b"")))[0] == UNAVAILABLE
    with pytest.raises(ValueError, match="metadata"):
        outgoing.to("127.0.0.1:1").unary(ECHO, b"", metadata=[("Upper", "x")])


async def test_a_lost_server_ends_everything_on_the_connection(outgoing) -> None:
    async with grpcio() as (port, _):
        channel = outgoing.to(f"127.0.0.1:{port}")
        assert (await outgoing.outcome(channel.unary(ECHO, b"up")))[0] == OK
        stream = channel.open(COLLECT, max_queued_bytes=QUEUE)
        assert stream.send([b"on its way"])

    # A server that has begun with a stream when it stops cancels it.
    assert (await outgoing.outcome(stream.id))[0] in {CANCELLED, UNAVAILABLE}


async def test_a_closed_channel_ends_its_calls_and_its_connection(serving, outgoing) -> None:
    async with serving(lambda *_: None, inbound_streams=[COLLECT]) as server:
        channel = outgoing.to(server.target)
        stream = channel.open(COLLECT, max_queued_bytes=QUEUE)
        unary = channel.unary(ECHO, b"")
        await server.until(lambda: len(server.calls) == 2)
        channel.close()

        assert (await outgoing.outcome(stream.id))[0] == UNAVAILABLE
        assert (await outgoing.outcome(unary))[0] == UNAVAILABLE
        await server.until(lambda: len(server.cancelled) == 2)


@asynccontextmanager
async def talking(answer):
    """A server that speaks no HTTP/2."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def garbage(reader, writer) -> None:
    writer.write(b"220 smtp.example ESMTP ready\r\n" * 10)
    await writer.drain()
    await reader.read()
    writer.close()


async def giant_frame(reader, writer) -> None:
    settings = b"\0\0\0\x04\0\0\0\0\0"
    writer.write(settings + b"\xff\xff\xff\0\0\0\0\0\x01")
    await writer.drain()
    await reader.read()
    writer.close()


async def hang_up(reader, writer) -> None:
    await reader.read(100)
    writer.close()


@pytest.mark.parametrize("answer", [garbage, giant_frame, hang_up])
async def test_servers_that_speak_something_else_are_given_up(outgoing, answer) -> None:
    async with talking(answer) as target:
        channel = outgoing.to(target)
        assert (await outgoing.outcome(channel.unary(ECHO, b"")))[0] == UNAVAILABLE


async def test_a_peer_that_has_gone_silent_is_noticed(outgoing) -> None:
    async def silent(reader, writer) -> None:
        await reader.read()
        writer.close()

    async with talking(silent) as target:
        channel = outgoing.to(target, keepalive_interval_seconds=0.1, keepalive_timeout_seconds=0.1)
        stream = channel.open(COLLECT, max_queued_bytes=QUEUE)
        assert stream.send([b"into the void"])

        code, text, _ = await outgoing.outcome(stream.id)

    assert (code, text) == (UNAVAILABLE, "the other side does not answer pings")


async def test_a_peer_that_answers_pings_is_kept(serving, outgoing) -> None:
    async with serving(lambda *_: None, inbound_streams=[COLLECT]) as server:
        channel = outgoing.to(
            server.target, keepalive_interval_seconds=0.02, keepalive_timeout_seconds=5
        )
        stream = channel.open(COLLECT, max_queued_bytes=QUEUE)
        await asyncio.sleep(0.3)

        assert stream.send([b"still here"])
        await server.until(server.received)


async def test_answers_over_the_limit_are_refused(serving, outgoing) -> None:
    async with serving() as server:
        channel = outgoing.to(server.target, max_message_bytes=10)

        assert (await outgoing.outcome(channel.unary(ECHO, b"x" * 10)))[0] == OK
        assert (await outgoing.outcome(channel.unary(ECHO, b"x" * 11)))[0] == EXHAUSTED


async def test_closing_the_connector_ends_everything(serving, outgoing) -> None:
    async with serving(lambda *_: None) as server:
        channel = outgoing.to(server.target)
        call = channel.unary(ECHO, b"")
        await server.until(lambda: server.calls)
        await asyncio.to_thread(outgoing.connector.close)

        assert (await outgoing.outcome(call))[0] == UNAVAILABLE
        with pytest.raises(RuntimeError, match="closed"):
            outgoing.to(server.target)


def server_side(authority: Authority) -> TlsIdentity:
    issued = authority.issue()
    return TlsIdentity(issued.certificate, issued.key, authority.pem, True)


def client_side(authority: Authority, ca: Authority | None = None) -> ClientIdentity:
    issued = authority.issue()
    return ClientIdentity((ca or authority).pem, issued.certificate, issued.key)


async def test_mutual_tls_by_name_and_by_address(serving, outgoing) -> None:
    ours = Authority()
    async with serving(tls=server_side(ours)) as server:
        for host in ("localhost", "127.0.0.1"):
            channel = outgoing.to(f"{host}:{server.listener.port}", tls=client_side(ours))
            assert (await outgoing.outcome(channel.unary(ECHO, b"secret")))[2] == b"secret"


async def test_wrong_authorities_and_wrong_names_are_refused(serving, outgoing) -> None:
    ours, theirs = Authority(), Authority("somebody else")
    async with serving(tls=server_side(ours)) as server:
        port = server.listener.port
        for target, identity in (
            (f"localhost:{port}", client_side(theirs)),
            (f"localhost:{port}", client_side(theirs, ours)),
            # The certificate does not name it, though it is the same machine.
            (f"127.0.0.2:{port}", client_side(ours)),
            (f"localhost:{port}", None),
        ):
            channel = outgoing.to(target, tls=identity)
            assert (await outgoing.outcome(channel.unary(ECHO, b"")))[0] == UNAVAILABLE

        assert server.calls == []


async def test_a_certificate_replaced_while_running_is_used_by_the_next_channel(
    serving, outgoing
) -> None:
    before, after = Authority(), Authority("the next one")
    async with serving(tls=server_side(before)) as server:
        target = f"localhost:{server.listener.port}"
        old = outgoing.to(target, tls=client_side(before))
        assert (await outgoing.outcome(old.unary(ECHO, b"")))[0] == OK
        server.listener.replace_tls(server_side(after))

        new = outgoing.to(target, tls=client_side(after))
        assert (await outgoing.outcome(new.unary(ECHO, b"")))[0] == OK
        assert (await outgoing.outcome(old.unary(ECHO, b"")))[0] == OK
        stranger = outgoing.to(target, tls=client_side(before))
        assert (await outgoing.outcome(stranger.unary(ECHO, b"")))[0] == UNAVAILABLE


async def test_mutual_tls_with_a_grpcio_server(outgoing) -> None:
    ours = Authority()
    issued = ours.issue()
    pair = [(issued.key, issued.certificate)]
    credentials = grpc.ssl_server_credentials(pair, ours.pem, require_client_auth=True)
    async with grpcio(credentials, "localhost:0") as (port, _):
        channel = outgoing.to(f"localhost:{port}", tls=client_side(ours))

        assert (await outgoing.outcome(channel.unary(ECHO, b"secret")))[2] == b"secret"


def test_identities_say_what_is_wrong_with_them() -> None:
    ours = Authority()
    one, other = ours.issue(), ours.issue()

    with pytest.raises(ValueError, match="CA holds no PEM certificate"):
        ClientIdentity(b"", one.certificate, one.key)
    with pytest.raises(ValueError, match="do they belong to each other"):
        ClientIdentity(ours.pem, one.certificate, other.key)
