"""One real process: what it answers, how it stops, what it remembers, what it reloads."""

import asyncio
import json
import signal

import grpc
import pytest
from amaters.wire import aql_pb2, errors_pb2
from amaters_server.testing.certificates import Authority

pytestmark = pytest.mark.slow


@pytest.fixture
async def running(server):
    one = server()
    one.start()
    await one.ready()
    return one


async def test_everything_a_client_can_ask(running, call):
    async with call(running.client) as caller:
        for number in range(250):
            await caller.set(b"k%03d" % number, b"v%d" % number)
        await caller.delete(b"k001")

        assert await caller.get(b"k000") == b"v0"
        assert await caller.get(b"k001") is None
        assert await caller.range(b"k000", b"k004") == [
            (b"k000", b"v0"),
            (b"k002", b"v2"),
            (b"k003", b"v3"),
        ]
        assert len(await caller.range(b"k", b"l", limit=7)) == 7
        chunks = await caller.stream(b"k", b"l")
        assert [len(chunk.batch.values) for chunk in chunks] == [100, 100, 49, 0]
        assert chunks[-1].end.total_count == 249
        answer = await caller.batch(
            caller.set_query(b"x", b"1"), caller.get_query(b"x"), caller.get_query(b"k000")
        )
        values = [one.single.value.data for one in answer.results.results[1:]]
        assert values == [b"1", b"v0"]


async def test_an_interactive_stream_sees_its_own_writes(running, call):
    # Values that shrink, on a client that compresses: both ways, and within the stream.
    values = [b"%d" % number * 2000 for number in range(50)]

    async with call(running.client) as caller:

        async def requests():
            for value in values:
                yield aql_pb2.QueryRequest(query=caller.set_query(b"k", value))
                yield aql_pb2.QueryRequest(query=caller.get_query(b"k"))

        gzip = grpc.Compression.Gzip
        stream = caller.stub.ExecuteInteractive(requests(), timeout=60, compression=gzip)
        answers = [answer async for answer in stream]

    assert [one.result.single.value.data for one in answers[1::2]] == values


async def test_a_value_with_a_wrong_checksum_is_refused(running, call):
    async with call(running.client) as caller:
        query = caller.set_query(b"k", b"v")
        query.set.value.metadata.checksum = 1
        answer = await caller.batch(query)

        assert answer.error.code == errors_pb2.ERROR_STORAGE_IO
        assert answer.error.message.startswith("Query 0 in batch failed to parse: Storage error:")


async def test_sigterm_ends_cleanly_and_data_outlives_it(running, call):
    async with call(running.client) as caller:
        await caller.set(b"k", b"v")

    code = await running.stop()
    running.start()
    await running.ready()

    assert code == 0
    assert not (running.folder / "pid").exists() or running.is_up()
    assert [line["event"] for line in running.events("server.stopped")] == ["server.stopped"]
    async with call(running.client) as caller:
        assert await caller.get(b"k") == b"v"


async def test_data_outlives_a_kill(running, call):
    async with call(running.client) as caller:
        await caller.set(b"k", b"v")

    running.kill()
    running.start()
    await running.ready()

    async with call(running.client) as caller:
        assert await caller.get(b"k") == b"v"


async def test_calls_in_progress_are_answered_when_it_stops(running, call):
    async with call(running.client) as caller:
        await caller.set(b"k", b"v")
        failures = []

        async def keep_writing():
            number = 0
            while True:
                try:
                    answer = await caller.set(b"n%d" % number, b"v")
                except grpc.aio.AioRpcError as error:
                    return error.code()
                if answer.WhichOneof("response") == "error":
                    failures.append(answer.error.code)
                number += 1

        writing = [asyncio.create_task(keep_writing()) for _ in range(20)]
        await asyncio.sleep(0.3)
        code = await running.stop()
        ended = await asyncio.gather(*writing)

    allowed = {
        errors_pb2.ERROR_SERVER_SHUTTING_DOWN,
        errors_pb2.ERROR_SERVER_UNAVAILABLE,
    }
    assert code == 0
    assert set(failures) <= allowed
    assert set(ended) <= {grpc.StatusCode.UNAVAILABLE}


async def test_a_second_signal_ends_it_at_once(server):
    one = server({"timeouts": {"graceful_shutdown_timeout_ms": 5000}})
    one.start()
    await one.ready()

    one.signal(signal.SIGTERM)
    one.signal(signal.SIGTERM)
    code = await asyncio.to_thread(one._process.wait, 10)

    assert code in {0, 1}


async def test_sighup_takes_over_what_it_may_and_names_the_rest(server):
    one = server()
    one.start()
    await one.ready()
    one.configure(
        {
            "logging": {"level": "debug"},
            "metrics": {"enabled": False},
            "storage": {"memtable_size_mb": 1},
        }
    )

    done = one.command("reload")
    async with asyncio.timeout(10):
        while not one.events("config.reloaded"):
            await asyncio.sleep(0.02)

    assert done.returncode == 0
    assert one.events("config.reloaded")[0]["report"] == (
        "Config reload successful. Updated: logging, metrics. "
        "Skipped (restart required): storage.memtable_size_mb."
    )
    assert one.page("/metrics")[0] == 404
    assert one.page("/livez")[0] == 200


async def test_a_faulty_configuration_is_refused_as_a_whole(server):
    one = server()
    one.start()
    await one.ready()
    one.configure({"logging": {"level": "loud"}, "metrics": {"enabled": False}})

    one.signal(signal.SIGHUP)
    async with asyncio.timeout(10):
        while not one.events("config.reloaded"):
            await asyncio.sleep(0.02)

    assert one.events("config.reloaded")[0]["report"].startswith("Config reload failed. Error: ")
    assert one.page("/metrics")[0] == 200


async def test_the_pages_for_probes_and_people(server, call):
    one = server()
    one.start()
    await one.ready()
    async with call(one.client) as caller:
        await caller.set(b"k", b"v")
        await caller.get(b"k")

    health = json.loads(one.page("/health")[1])
    metrics = one.page("/metrics")[1]

    assert one.page("/readyz") == (200, '{"ready":true}')
    assert one.page("/healthz") == (200, '{"alive":true}')
    assert json.loads(one.page("/livez")[1])["alive"] is True
    assert [part["name"] for part in health["components"]] == ["storage", "network", "cluster"]
    assert health["status"] == "healthy"
    assert one.page("/nothing") == (404, '{"error":"not found"}')
    assert json.loads(one.page("/metrics.json")[1])["history_count"] >= 1
    assert 'amaters_op_count{op="put"} 1.0\n' in metrics
    assert 'amaters_op_count{op="get"} 1.0\n' in metrics
    assert "amaters_cluster_is_leader 1.0\n" in metrics


async def test_a_second_server_on_the_same_folder_is_refused(server):
    one = server()
    one.start()
    await one.ready()

    second = one.command("start")

    assert second.returncode == 1
    assert second.stderr.startswith("Error: Server is already running: process ")
    assert "Stop it first" in second.stderr
    assert one.page("/readyz")[0] == 200


async def test_status_and_stop_find_the_running_one(server):
    one = server()
    assert json.loads(one.command("status", "-f", "json").stdout)["status"] == "stopped"
    one.start()
    await one.ready()

    running = one.command("status", "-f", "JSON")
    asked = one.command("status", "--addr", one.client)
    stopped = one.command("stop")
    again = one.command("stop")

    assert json.loads(running.stdout) == {
        "bind_address": one.client,
        "data_dir": str(one.folder / "data"),
        "pid_file": str(one.folder / "pid"),
        "status": "running",
    }
    assert asked.stdout.splitlines()[2:] == ["Status: Running", f"Bind address: {one.client}"]
    assert stopped.returncode == 0
    assert again.returncode == 0
    assert "not running" in again.stderr


async def test_status_of_a_server_that_wants_a_certificate(server, tmp_path):
    folder = tmp_path / "tls"
    authority = Authority()
    authority.issue().write(folder, authority.pem)
    names = {"tls_cert": "tls.crt", "tls_key": "tls.key", "tls_ca": "ca.crt"}
    files = {key: str(folder / name) for key, name in names.items()}
    one = server({"network": {"tls_enabled": True, "require_client_cert": True, **files}})
    one.start()
    await one.ready()
    stranger = server()

    for asking in (one, stranger):
        asked = asking.command("status", "--addr", one.client)
        told = asking.command("status", "--addr", one.client, "--format", "json")

        assert "Status: Running, and wants a client certificate" in asked.stdout
        assert "PID file" not in asked.stdout
        assert json.loads(told.stdout) == {
            "bind_address": one.client,
            "detail": "wants a client certificate",
            "status": "running",
        }


async def test_a_taken_address_is_named(server):
    one, two = server(), server()
    two.client_port = one.client_port
    two.configure({})
    one.start()
    await one.ready()

    refused = two.command("start")

    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith(f"Error: cannot listen on {one.client}")
