"""A server whose log lines are taken by no reader: `amaters-server | sleep`."""

import fcntl
import os
import subprocess
import time

import pytest

pytestmark = pytest.mark.slow

PIPE_BYTES = 4096


@pytest.fixture
def full_pipe():
    """Return the writing end of a pipe that is full, and stays so."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(writing, False)
    os.write(writing, b"x" * PIPE_BYTES)
    with pytest.raises(BlockingIOError):
        os.write(writing, b"x")
    os.set_blocking(writing, True)
    yield writing
    os.close(reading)
    os.close(writing)


async def test_clients_write_and_the_server_stops(server, call, full_pipe):
    one = server({"logging": {"level": "debug"}})
    command = [*one.program, "start", "--config", str(one.config)]
    one._process = subprocess.Popen(command, stdout=full_pipe, stderr=full_pipe)
    await one.ready()

    slowest = 0.0
    async with call(one.client) as caller:
        for number in range(500):
            begun = time.monotonic()
            await caller.set(b"%d" % number, b"v")
            slowest = max(slowest, time.monotonic() - begun)
    assert slowest < 1.0

    assert await one.stop() == 0
