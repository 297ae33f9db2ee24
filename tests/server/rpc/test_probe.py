"""What `amaters-server status --addr` finds at an address, and never calls stopped."""

import asyncio
import contextlib
import socket
import threading

import pytest
from amaters_server.node.values import Verdict
from amaters_server.rpc.aql.commands.commands import AdminCommands
from amaters_server.rpc.aql.pending import QueryLimits
from amaters_server.rpc.aql.probe import Found, State, probe
from amaters_server.rpc.aql.service import AqlService
from amaters_server.rpc.transport.listener import GrpcListener, ListenerSettings
from amaters_server.rpc.transport.tls import Certificates, TlsPaths
from amaters_server.telemetry.counters import CallCounters
from amaters_server.testing.certificates import Authority


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
async def service(database):
    now = asyncio.get_running_loop().time
    made = AqlService(
        database, AdminCommands(None, now), CallCounters(), limits=QueryLimits(), now=now
    )
    yield made
    await made.close()


@pytest.fixture
async def serving(service, tmp_path, authority):
    """Start a listener for clients: plain, or with TLS options; returns its address."""
    running = []

    async def start(**tls) -> str:
        certificates = Certificates({})
        if tls:
            authority.issue().write(tmp_path, authority.pem)
            files = (tmp_path / name for name in ("tls.crt", "tls.key", "ca.crt"))
            certificates = Certificates({"client": TlsPaths(*files, **tls)})
        settings = ListenerSettings("127.0.0.1:0", tls=certificates.get("client"))
        made = GrpcListener(settings, service.methods)
        await made.start()
        running.append(made)
        return f"127.0.0.1:{made.port}"

    yield start
    for one in running:
        await one.stop(0)


async def found(address: str, **options) -> Found:
    return await asyncio.to_thread(probe, address, **{"ca": None, "tls": False} | options)


async def test_a_server_that_wants_a_certificate_is_running(serving, tmp_path):
    address = await serving(require_client_cert=True)

    for options in ({}, {"tls": True, "ca": tmp_path / "ca.crt"}):
        said = await found(address, **options)
        assert str(said) == "Running, and wants a client certificate"


async def test_a_server_with_tls_asked_without_is_running(serving):
    said = await found(await serving(require_client_cert=False))

    assert str(said) == "Running, and wants TLS"


async def test_a_server_with_tls_asked_with_tls_is_running(serving, tmp_path):
    address = await serving(require_client_cert=False)

    said = await found(address, tls=True, ca=tmp_path / "ca.crt")

    assert str(said) == "Running"


async def test_a_server_without_tls_asked_with_tls_is_running(serving):
    address = await serving()

    assert str(await found(address)) == "Running"
    assert str(await found(address, tls=True)) == "Running, and speaks no TLS"


async def test_a_server_that_is_not_trusted_is_running(serving, tmp_path):
    address = await serving(require_client_cert=False)
    (tmp_path / "other.crt").write_bytes(Authority("somebody else").pem)

    said = await found(address, tls=True, ca=tmp_path / "other.crt")

    assert str(said).startswith("Running, and shows a certificate that is not trusted here")


async def test_a_server_that_does_not_serve_is_running(serving, database):
    database.ready = Verdict(ok=False, reason="no leader is known")

    said = await found(await serving())

    assert str(said).startswith("Running, and does not serve now (no leader is known")


@contextlib.contextmanager
def answering(answer: bytes | None):
    """A listener that answers every connection so and closes it; None: never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError), contextlib.ExitStack() as held:
                while True:
                    connection = held.enter_context(listening.accept()[0])
                    if answer is None:
                        continue
                    with connection:
                        connection.recv(1024)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "state", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", State.FOREIGN, "speaks no gRPC"),
        (b"", State.UNREACHABLE, "closes connections without a word"),
        (None, State.UNREACHABLE, "accepts connections and does not answer"),
    ],
)
def test_what_is_no_server_is_not_called_one(answer, state, told):
    with answering(answer) as address:
        said = probe(address, ca=None, tls=False, seconds=0.3)

    assert said.state is state
    assert told in said.detail


def test_nobody_there_is_stopped_and_no_such_host_is_unreachable():
    assert probe("127.0.0.1:1", ca=None, tls=True) == Found(State.STOPPED)
    assert probe("nowhere.invalid:1", ca=None, tls=False).state is State.UNREACHABLE
