"""gzip between the listener and grpcio's clients."""

import grpc
import pytest

ECHO, COLLECT, TALK = "/demo.Service/Echo", "/demo.Service/Collect", "/demo.Service/Talk"
LIMIT = 1 << 20
LONG = b"amaters " * 50_000


def echo_stream(server, call) -> None:
    server.listener.send(call[0], call[2])
    server.listener.send(call[0], b"short")
    server.listener.finish(call[0])


def channel(server, compression=grpc.Compression.Gzip) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(server.target, compression=compression)


async def test_compressed_requests_have_compressed_answers(serving) -> None:
    async with serving(max_message_bytes=LIMIT) as server, channel(server) as client:
        answer = await client.unary_unary(ECHO)(LONG)
        stats = server.listener.stats()

    assert answer == server.calls[0][2] == LONG
    assert stats.bytes_received == stats.bytes_sent == len(LONG)


async def test_streams_are_compressed_both_ways(serving) -> None:
    settings = {"inbound_streams": [COLLECT], "interactive_streams": {TALK: ECHO}}
    async with serving(max_message_bytes=LIMIT, **settings) as server, channel(server) as client:
        talk = client.stream_stream(TALK)(iter([LONG, b"short", LONG]))
        assert [one async for one in talk] == [LONG, b"short", LONG]
        server.answer = echo_stream
        download = client.unary_stream("/demo.Service/Download")(LONG)
        assert [one async for one in download] == [LONG, b"short"]
        server.answer = lambda server, call: None
        collect = client.stream_unary(COLLECT)(iter([LONG, LONG]))
        await server.until(lambda: server.messages and server.messages[-1][2])
        server.listener.reply([(server.calls[-1][0], LONG)])
        assert await collect == LONG

    assert server.received() == LONG * 2


@pytest.mark.parametrize("wanted", [None, grpc.Compression.NoCompression])
async def test_clients_that_do_not_compress_get_plain_answers(serving, wanted) -> None:
    async with serving() as server, channel(server, wanted) as client:
        assert await client.unary_unary(ECHO)(LONG) == LONG
        await server.until(lambda: server.listener.held() == 0)
        wire = server.listener.taken()

    assert wire == len(LONG) + 5


async def test_a_compressed_answer_is_small_on_the_wire(serving) -> None:
    async with serving() as server, channel(server) as client:
        assert await client.unary_unary(ECHO)(LONG) == LONG
        await server.until(lambda: server.listener.held() == 0)
        wire = server.listener.taken()

    assert 0 < wire < len(LONG) / 20


async def test_other_encodings_are_refused(serving) -> None:
    async with (
        serving() as server,
        channel(server, grpc.Compression.Deflate) as client,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await client.unary_unary(ECHO)(LONG)

    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert raised.value.details() == (
        'compression "deflate" is not supported: send gzip or identity'
    )
    assert server.calls == []


async def test_what_is_inflated_is_bounded_as_what_is_sent(serving) -> None:
    settings = {"inbound_streams": [COLLECT], "interactive_streams": {TALK: ECHO}}
    async with serving(max_message_bytes=LIMIT, **settings) as server, channel(server) as client:
        assert await client.unary_unary(ECHO)(bytes(LIMIT)) == bytes(LIMIT)
        bomb, server.answer = bytes(LIMIT + 1), lambda *_: None
        for call in (
            client.unary_unary(ECHO)(bomb),
            client.stream_unary(COLLECT)(iter([bomb])),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await client.stream_stream(TALK)(iter([bomb])).read()
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
