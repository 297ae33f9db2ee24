"""The log of requests on a real node: switched on by a reload, in a file that was moved away."""

import asyncio
import json
import os
import signal

import pytest

pytestmark = pytest.mark.slow


async def until(true):
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.05)


async def test_a_reload_switches_it_on_and_opens_the_file_again(server, call, tmp_path):
    file = tmp_path / "log" / "node.log"
    logging = {"file_enabled": True, "file_path": str(file), "level": "info"}
    one = server({"logging": logging})
    one.start()
    await one.ready()
    async with call(one.client) as caller:
        await caller.set(b"secret-before", b"secret-value")
        file.rename(tmp_path / "moved.log")
        one.configure({"logging": logging, "telemetry": {"requests": {"mode": "all"}}})
        os.kill(one.pid, signal.SIGHUP)
        await until(lambda: file.exists() and "config.reloaded" in file.read_text())
        await caller.set(b"secret-after", b"secret-value")
        await until(lambda: '"request"' in file.read_text())

    lines = [json.loads(line) for line in file.read_text().splitlines()]
    [request] = [line for line in lines if line["event"] == "request"]
    assert (request["method"], request["op"]) == ("ExecuteQuery", "put")
    assert (request["collection"], request["key_bytes"]) == ("c", len(b"secret-after"))
    assert request["request_id"].startswith("call-")
    assert "secret" not in one.log + file.read_text() + (tmp_path / "moved.log").read_text()
