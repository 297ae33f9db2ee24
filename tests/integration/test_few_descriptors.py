"""A process that may open few files: probes are answered, whoever connects to which port."""

import asyncio
import contextlib
import socket

import pytest

pytestmark = pytest.mark.slow

LIMIT = 64
CROWD = 150


def crowd(port: int, stack: contextlib.ExitStack) -> None:
    """Open connections that say nothing, as many as the listener's queue takes."""
    for _ in range(CROWD):
        try:
            made = socket.create_connection(("127.0.0.1", port), timeout=1)
        except OSError:
            return
        stack.callback(made.close)


async def test_probes_are_answered_while_strangers_take_what_they_can_get(server, call):
    one = server({"resource_limits": {"max_connections_per_client": 1000}})
    one.launcher = ("prlimit", f"--nofile={LIMIT}:{LIMIT}")
    one.start()
    await one.ready()

    async with call(one.client) as caller:
        await caller.set(b"k", b"v")
        with contextlib.ExitStack() as stack:
            for port in (one.client_port, one.internal_port, one.http_port):
                await asyncio.to_thread(crowd, port, stack)
            await asyncio.sleep(0.5)
            answers = [
                (await asyncio.to_thread(one.page, path))[0]
                for _ in range(15)
                for path in ("/livez", "/readyz")
            ]
            written = await caller.set(b"k", b"w")

        assert answers == [200] * 30
        assert written.WhichOneof("response") == "result"
        assert not one.events("node.failed")
        assert not one.events("http.service_failed")

    async with call(one.client) as caller, asyncio.timeout(10):
        await asyncio.sleep(0.5)
        assert await caller.get(b"k") == b"w"
    assert await one.stop() == 0


async def test_it_is_told_when_connections_are_refused_for_want_of_descriptors(server):
    one = server({"resource_limits": {"max_connections_per_client": 1000}})
    one.launcher = ("prlimit", f"--nofile={LIMIT}:{LIMIT}")
    one.start()
    await one.ready()

    with contextlib.ExitStack() as stack:
        await asyncio.to_thread(crowd, one.client_port, stack)
        async with asyncio.timeout(15):
            while len(told := one.events("process.few_descriptors")) < 2:
                await asyncio.sleep(0.1)

    assert told[1]["connections_refused"] > CROWD / 2
    assert "ulimit -n" in told[1]["reason"]
