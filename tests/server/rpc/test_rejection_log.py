import asyncio
import contextlib
import socket

from amaters_server.rpc.transport.calls import Service
from amaters_server.rpc.transport.listener import GrpcListener, ListenerSettings
from amaters_server.rpc.transport.rejection_log import (
    SILENCE_SECONDS,
    RejectionLog,
    log_connections,
)
from amaters_server.telemetry.counters import Traffic


def test_refusals_are_told_at_once_and_then_seldom():
    log = RejectionLog()

    assert log.news(3, now=100) == 3
    assert log.news(50, now=101) == 0
    assert log.news(90, now=100 + SILENCE_SECONDS) == 87
    assert log.news(90, now=900) == 0


def test_the_line_names_the_host_and_the_setting(caplog):
    log_connections(
        RejectionLog(), Traffic(rejected_per_client=2, last_rejected_client="10.0.0.9"), now=0
    )

    [line] = caplog.records
    assert (line.message, line.last_address, line.connections) == (
        "client.turned_away",
        "10.0.0.9",
        2,
    )
    assert "resource_limits.max_connections_per_client" in line.reason


async def test_one_host_cannot_lock_another_out():
    settings = ListenerSettings("127.0.0.1:0", max_connections=6, max_connections_per_client=2)
    listener = GrpcListener(settings, Service())
    await listener.start()
    try:
        with contextlib.ExitStack() as open_sockets:
            for _ in range(6):
                open_sockets.enter_context(connected(listener.port, "127.0.0.1"))
            open_sockets.enter_context(connected(listener.port, "127.0.0.2"))
            async with asyncio.timeout(10):
                while listener.traffic().rejected < 4 or listener.traffic().connections > 3:
                    await asyncio.sleep(0.005)

            counted = listener.traffic()
    finally:
        await listener.stop(0)

    assert counted.connections == 3
    assert (counted.rejected, counted.rejected_per_client) == (4, 4)
    assert counted.last_rejected_client == "127.0.0.1"


def connected(port: int, source: str) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
    made.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
    return made
