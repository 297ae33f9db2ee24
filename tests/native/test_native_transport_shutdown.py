"""Draining and closing."""

import asyncio

import grpc
import pytest
from grpc import StatusCode

ECHO = "/demo.Service/Echo"
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


def open_channel(server) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(server.target, options=OWN_CONNECTION)


async def test_a_draining_listener_finishes_what_it_has(serving) -> None:
    async with serving(lambda *_: None) as server, open_channel(server) as channel:
        pending = asyncio.ensure_future(channel.unary_unary(ECHO)(b"x").code())
        await server.until(lambda: server.calls)

        server.listener.drain()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", server.listener.port)
        server.listener.reply([(server.calls[0][0], b"done")])

        assert await pending is StatusCode.OK
        while server.listener.stats().connections:
            await asyncio.sleep(0.005)


async def test_closing_waits_for_answers(serving) -> None:
    async with serving(lambda *_: None) as server, open_channel(server) as channel:
        pending = asyncio.ensure_future(channel.unary_unary(ECHO)(b"x").code())
        await server.until(lambda: server.calls)

        closing = asyncio.ensure_future(asyncio.to_thread(server.listener.close, 30.0))
        await asyncio.sleep(0.05)
        assert not closing.done()
        server.listener.reply([(server.calls[0][0], b"done")])

        assert await pending is StatusCode.OK
        await asyncio.wait_for(closing, 10)


async def test_closing_loses_patience_and_says_so(serving) -> None:
    async with serving(lambda *_: None) as server, open_channel(server) as channel:
        pending = channel.unary_unary(ECHO)(b"x")
        code = asyncio.ensure_future(pending.code())
        await server.until(lambda: server.calls)

        await asyncio.to_thread(server.listener.close, 0.05)

        assert await code is StatusCode.UNAVAILABLE
        assert "the server is stopping" in (await pending.details() or "")
        assert server.listener.stats().connections == 0


async def test_closing_twice_and_using_afterwards_is_harmless(serving) -> None:
    async with serving() as server:
        for _ in range(2):
            await asyncio.to_thread(server.listener.close)

        server.listener.drain()
        server.listener.reply([(64, b"x")])
        server.listener.fail([(64, 5, "", None)])
        assert server.listener.send(64, b"x") == -1
        assert server.listener.take() == []
        assert server.listener.stats().connections == 0


async def test_an_idle_listener_closes_at_once_despite_its_connections(serving) -> None:
    async with serving() as server, open_channel(server) as channel:
        await channel.unary_unary(ECHO)(b"x")

        async with asyncio.timeout(5):
            await asyncio.to_thread(server.listener.close, 60.0)


async def test_the_port_is_free_again(serving) -> None:
    async with serving() as first:
        port = first.listener.port
    async with serving(address=f"127.0.0.1:{port}") as second, open_channel(second) as channel:
        assert await channel.unary_unary(ECHO)(b"x") == b"x"
