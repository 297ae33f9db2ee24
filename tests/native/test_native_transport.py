"""The listener against a real gRPC client: calls, answers, limits."""

import asyncio
import os
import socket
from contextlib import suppress

import grpc
import pytest
from amaters_native.transport import Listener
from grpc import StatusCode

ECHO = "/demo.Service/Echo"
# Channels of one process otherwise share their connections.
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


async def call(target: str, message: bytes = b"x", path: str = ECHO, **options) -> bytes:
    async with grpc.aio.insecure_channel(target, options=OWN_CONNECTION) as channel:
        return await channel.unary_unary(path)(message, **options)


async def failing(target: str, message: bytes = b"x", **options) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(target, message, **options)
    return caught.value


async def test_a_call_is_answered(serving) -> None:
    async with serving() as server:
        assert await call(server.target, b"hello", path="/any.Path/Works") == b"hello"

        call_id, path, message, deadline, metadata, connection = server.calls[0]
        assert call_id > 0
        assert (path, message, deadline, metadata) == ("/any.Path/Works", b"hello", None, None)
        assert connection > 0


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 16_379, 16_384, 1_000_000, 15 << 20])
async def test_messages_of_any_size_come_back_whole(serving, size: int) -> None:
    message = os.urandom(size)
    options = [("grpc.max_receive_message_length", -1)]
    async with (
        serving() as server,
        grpc.aio.insecure_channel(server.target, options=options) as channel,
    ):
        assert await channel.unary_unary(ECHO)(message) == message


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
async def test_many_calls_at_once_on_many_connections(serving, threads: int) -> None:
    async def client(target: str, number: int) -> list[bytes]:
        async with grpc.aio.insecure_channel(target, options=OWN_CONNECTION) as channel:
            echo = channel.unary_unary(ECHO)
            return await asyncio.gather(*(echo(b"%d-%d" % (number, i)) for i in range(100)))

    async with serving(threads=threads) as server:
        answers = await asyncio.gather(*(client(server.target, number) for number in range(6)))

        assert answers == [[b"%d-%d" % (n, i) for i in range(100)] for n in range(6)]
        while server.listener.stats().calls_in_flight:
            await asyncio.sleep(0.005)
        stats = server.listener.stats()
        assert stats.calls_total == 600
        assert stats.connections_total == 6
        assert len({one[5] for one in server.calls}) == 6
        assert stats.bytes_received == stats.bytes_sent == sum(len(one[2]) for one in server.calls)


async def test_answers_may_come_in_any_order_and_batch(serving) -> None:
    def together(server, _call) -> None:
        if len(server.calls) == 3:
            ids = [one[0] for one in reversed(server.calls)]
            server.listener.reply([(one, str(place).encode()) for place, one in enumerate(ids)])

    async with serving(together) as server:
        answers = await asyncio.gather(*(call(server.target, bytes([i])) for i in range(3)))

        assert sorted(answers) == [b"0", b"1", b"2"]


async def test_metadata_arrives_without_the_protocols_own(serving) -> None:
    sent = (("x-key", "value"), ("x-bin", b"\x00\xff"), ("authorization", "Bearer t"))
    async with serving() as server:
        await call(server.target, metadata=sent)

        assert sorted(server.calls[0][4]) == sorted(sent)


async def test_calls_of_a_connection_with_the_same_metadata_share_a_list(serving) -> None:
    same, other = (("x-key", "value"),), (("x-key", "another"),)
    long = (("x-key", "v" * 5000),)
    async with serving() as server, grpc.aio.insecure_channel(server.target) as channel:
        ask = channel.unary_unary("/any.Path/Works")
        for metadata in (same, same, other, same, same, long, long):
            await ask(b"", metadata=metadata)
        await call(server.target, metadata=same)

        found = [one[4] for one in server.calls]
        assert [dict(one)["x-key"] for one in found[:5]] == ["value"] * 2 + ["another"] + [
            "value"
        ] * 2
        assert found[0] is found[1]
        assert found[3] is found[4]
        assert found[5] == found[6] == list(long)
        assert found[5] is not found[6]
        assert found[7] == found[0]
        assert found[7] is not found[4]


async def test_errors_carry_text_and_trailers(serving) -> None:
    trailers = [("retry-after", "3"), ("detail-bin", b"\x01\x02")]

    def refuse(server, call) -> None:
        server.listener.fail([(call[0], 9, "nicht möglich: 100 %\n", trailers)])

    async with serving(refuse) as server:
        error = await failing(server.target)

        assert error.code() is StatusCode.FAILED_PRECONDITION
        assert error.details() == "nicht möglich: 100 %\n"
        assert list(error.trailing_metadata()) == trailers


async def test_an_answer_can_have_trailers_too(serving) -> None:
    def answer(server, call) -> None:
        server.listener.send(call[0], b"fine")
        server.listener.finish(call[0], metadata=[("index", "7")])

    async with (
        serving(answer) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        pending = channel.unary_unary(ECHO)(b"x")

        assert await pending == b"fine"
        assert list(await pending.trailing_metadata()) == [("index", "7")]


@pytest.mark.parametrize(
    ("code", "metadata", "complaint"),
    [
        (17, None, "17 is no gRPC status code"),
        (5, [("Upper", "x")], "not lower-case"),
        (5, [("grpc-status", "0")], "reserved"),
        (5, [("x", "a\nb")], "HTTP does not allow"),
        (5, [("x", b"bytes")], "must end in -bin"),
        (5, [("x-bin", "text")], "must be bytes"),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_it_is(
    serving, code: int, metadata: list, complaint: str
) -> None:
    def refuse(server, call) -> None:
        with pytest.raises(ValueError, match=complaint):
            server.listener.fail([(call[0], 5, "", None), (call[0], code, "", metadata)])
        with pytest.raises(ValueError, match=complaint):
            server.listener.finish(call[0], code, "", metadata)
        server.listener.reply([(call[0], b"unharmed")])

    async with serving(refuse) as server:
        assert await call(server.target) == b"unharmed"


async def test_ids_nobody_waits_for_are_ignored(serving) -> None:
    async with serving() as server:
        server.listener.reply([(1, b""), (63, b""), (2**60, b"")])
        server.listener.fail([(1, 5, "", None)])
        server.listener.finish(1)

        assert server.listener.send(1, b"x") == -1
        assert await call(server.target, b"still here") == b"still here"


async def test_the_deadline_is_told_and_kept(serving) -> None:
    async with serving(lambda *_: None) as server:
        error = await failing(server.target, timeout=0.3)
        await server.until(lambda: server.cancelled)

        assert error.code() is StatusCode.DEADLINE_EXCEEDED
        assert 0 <= server.calls[0][3] <= 0.31  # gRPC rounds up to whole milliseconds
        assert server.cancelled == [server.calls[0][0]]


async def test_a_cancelled_call_is_told_once(serving) -> None:
    async with (
        serving(lambda *_: None) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        pending = channel.unary_unary(ECHO)(b"x")
        waiting = asyncio.ensure_future(pending.wait_for_connection())
        await server.until(lambda: server.calls)
        waiting.cancel()
        pending.cancel()
        await server.until(lambda: server.cancelled)

        assert server.cancelled == [server.calls[0][0]]
        server.listener.reply([(server.calls[0][0], b"late")])


async def test_a_lost_connection_cancels_its_calls(serving) -> None:
    async with serving(lambda *_: None) as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            pending = [channel.unary_unary(ECHO)(b"x") for _ in range(5)]
            tasks = [asyncio.ensure_future(one.code()) for one in pending]
            await server.until(lambda: len(server.calls) == 5)
        await server.until(lambda: len(server.cancelled) == 5)

        assert sorted(server.cancelled) == sorted(one[0] for one in server.calls)
        await asyncio.gather(*tasks)


async def test_a_message_over_the_limit_is_refused(serving) -> None:
    async with serving(max_message_bytes=1000) as server:
        assert len(await call(server.target, b"x" * 1000)) == 1000
        error = await failing(server.target, b"x" * 1001)

        assert error.code() is StatusCode.RESOURCE_EXHAUSTED
        assert error.details() == (
            "message of 1001 bytes is over the limit of 1000: split a batch into smaller ones, "
            "or raise network.max_message_bytes on the servers"
        )
        assert len(server.calls) == 1


async def test_calls_over_the_queue_limit_are_refused_at_once(serving) -> None:
    async with serving(queue_limit=2) as server:
        server.loop.remove_reader(server.event_fd)
        pending = [asyncio.ensure_future(call(server.target)) for _ in range(2)]
        while server.listener.stats().calls_in_flight < 2:
            await asyncio.sleep(0.005)

        error = await failing(server.target)
        server.loop.add_reader(server.event_fd, server.wake)

        assert error.code() is StatusCode.RESOURCE_EXHAUSTED
        assert await asyncio.gather(*pending) == [b"x", b"x"]
        assert server.listener.stats().rejected == 1


async def test_taking_less_than_there_is_wakes_again(serving) -> None:
    async with serving() as server:
        take = server.listener.take
        server.loop.remove_reader(server.event_fd)
        pending = [asyncio.ensure_future(call(server.target)) for _ in range(3)]
        while server.listener.stats().calls_in_flight < 3:
            await asyncio.sleep(0.005)

        assert os.eventfd_read(server.event_fd) == 1
        first = take(2)
        assert os.eventfd_read(server.event_fd) == 1
        rest = take(2)

        assert (len(first), len(rest)) == (2, 1)
        with pytest.raises(BlockingIOError):
            os.eventfd_read(server.event_fd)
        server.listener.reply([(one[0], b"") for one in first + rest])
        await asyncio.gather(*pending)
        server.loop.add_reader(server.event_fd, server.wake)


async def test_a_call_lost_before_it_is_taken_is_never_seen(serving) -> None:
    async with serving() as server:
        server.loop.remove_reader(server.event_fd)
        error = await failing(server.target, timeout=0.2)
        while server.listener.stats().calls_in_flight:
            await asyncio.sleep(0.005)

        server.wake()

        assert error.code() is StatusCode.DEADLINE_EXCEEDED
        assert (server.calls, server.cancelled) == ([], [])
        server.loop.add_reader(server.event_fd, server.wake)


async def test_where_a_call_came_from(serving) -> None:
    async with serving() as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            await channel.unary_unary(ECHO)(b"x")
            connection = server.listener.connection(server.calls[0][5])

        assert connection is not None
        assert connection.peer.startswith("127.0.0.1:")
        assert (connection.tls, connection.certificate) == (False, None)
        while server.listener.stats().connections:
            await asyncio.sleep(0.005)
        assert server.listener.connection(connection.id) is None


async def test_too_many_connections_are_turned_away(serving) -> None:
    async with serving(max_connections=1) as server:
        async with grpc.aio.insecure_channel(server.target) as first:
            await first.unary_unary(ECHO)(b"x")
            error = await failing(server.target, timeout=5)
        while server.listener.stats().connections:
            await asyncio.sleep(0.005)

        assert error.code() is StatusCode.UNAVAILABLE
        assert server.listener.stats().rejected >= 1
        assert await call(server.target) == b"x"


async def test_a_connection_that_gets_a_descriptor_over_the_limit_is_closed(serving) -> None:
    probe = os.open(os.devnull, os.O_RDONLY)
    os.close(probe)
    async with serving(max_descriptor=probe + 60) as server:
        # Each takes two: this side is the same process.
        ours = [await asyncio.open_connection("127.0.0.1", server.listener.port) for _ in range(40)]
        while (counted := server.listener.stats()).connections + counted.rejected < 40:
            await asyncio.sleep(0.005)
        for _, writer in ours:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        while server.listener.stats().connections:
            await asyncio.sleep(0.005)

        assert 5 < counted.rejected_for_descriptors == counted.rejected < 35
        assert await call(server.target) == b"x"  # Its number is low again.


async def test_the_limit_of_connections_follows_while_running(serving) -> None:
    async with (
        serving(max_connections=1) as server,
        grpc.aio.insecure_channel(server.target) as first,
    ):
        await first.unary_unary(ECHO)(b"x")
        server.listener.limit_connections(2)

        assert await call(server.target) == b"x"


async def test_one_host_has_so_many_connections_and_another_still_comes_in(serving) -> None:
    async with (
        serving(address="127.0.0.1:0", max_connections_per_client=1) as server,
        grpc.aio.insecure_channel(server.target) as first,
    ):
        await first.unary_unary(ECHO)(b"x")
        error = await failing(server.target, timeout=5)

        assert error.code() is StatusCode.UNAVAILABLE
        stats = server.listener.stats()
        assert stats.rejected == stats.rejected_per_client >= 1
        assert stats.last_rejected_client == "127.0.0.1"
        with socket.create_connection(
            ("127.0.0.1", server.listener.port), source_address=("127.0.0.2", 0)
        ):
            while server.listener.stats().connections < 2:
                await asyncio.sleep(0.005)


async def test_the_limit_of_one_host_follows_while_running(serving) -> None:
    async with (
        serving(max_connections_per_client=1) as server,
        grpc.aio.insecure_channel(server.target) as first,
    ):
        await first.unary_unary(ECHO)(b"x")
        server.listener.limit_connections(1000, 2)

        assert await call(server.target) == b"x"


async def test_a_host_whose_connection_ended_may_come_again(serving) -> None:
    async with serving(max_connections_per_client=1) as server:
        for _ in range(3):
            assert await call(server.target) == b"x"
            while server.listener.stats().connections:
                await asyncio.sleep(0.005)


def test_an_address_in_use_is_an_os_error_that_names_it() -> None:
    event_fd = os.eventfd(0, os.EFD_NONBLOCK)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"cannot listen on {address}"):
            Listener(address=address, event_fd=event_fd)
    with pytest.raises(OSError, match="cannot listen on nonsense"):
        Listener(address="nonsense", event_fd=event_fd)
    os.close(event_fd)


def test_bad_settings_are_named() -> None:
    event_fd = os.eventfd(0, os.EFD_NONBLOCK)
    with pytest.raises(ValueError, match="threads must be"):
        Listener(address="127.0.0.1:0", event_fd=event_fd, threads=0)
    with pytest.raises(ValueError, match="keepalive_interval_seconds cannot be -1"):
        Listener(address="127.0.0.1:0", event_fd=event_fd, keepalive_interval_seconds=-1)
    with pytest.raises(OSError, match="no usable eventfd"):
        Listener(address="127.0.0.1:0", event_fd=999_999)
    os.close(event_fd)
