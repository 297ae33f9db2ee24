"""Real gRPC servers in this process, on ports of their own, for the client's tests."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from amaters.admin.client import AdminClient
from amaters.cli.main import cli as program
from amaters.data.client import AmatersClient
from amaters.testing.admin import FakeAdmin, serve_admin
from amaters.testing.aql import FakeAql, FakeCluster, serve_aql
from amaters.testing.threads import serve_in_threads
from click.testing import CliRunner, Result


@pytest.fixture
async def fake_admin() -> AsyncIterator[FakeAdmin]:
    """A scripted admin service on loopback; `.address` says where."""
    async with serve_admin() as fake:
        yield fake


@pytest.fixture
async def admin(fake_admin: FakeAdmin) -> AsyncIterator[AdminClient]:
    """An admin client connected to the scripted service."""
    async with AdminClient.connect(fake_admin.address) as client:
        yield client


@pytest.fixture
async def fake() -> AsyncIterator[FakeAql]:
    """One server of the query service."""
    async with serve_aql() as server:
        yield server


@pytest.fixture
async def client(fake: FakeAql) -> AsyncIterator[AmatersClient]:
    """A client of that one server."""
    async with await AmatersClient.connect(fake.address) as connected:
        yield connected


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    """Two servers that hold the same data."""
    made = FakeCluster()
    await made.start()
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def served() -> Iterator[FakeAql]:
    """A server of the query service on threads, for programs that own the event loop."""
    fake = FakeAql()
    with serve_in_threads(fake):
        yield fake


@pytest.fixture
def served_admin() -> Iterator[FakeAdmin]:
    """An admin service on threads."""
    fake = FakeAdmin()
    with serve_in_threads(fake):
        yield fake


Cli = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, and an environment that says nothing about AmateRS."""
    for name in ("SERVER_URL", "ADMIN_ADDRESS", "COLLECTION", "OUTPUT_FORMAT", "COLOR"):
        monkeypatch.delenv(f"AMATERS_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def bare(home: Path) -> Cli:
    """Runs amaters-cli with nothing but the arguments given."""

    def run(*arguments: str, stdin: bytes | str | None = None) -> Result:
        return CliRunner().invoke(program, list(arguments), input=stdin)

    return run


@pytest.fixture
def cli(bare: Cli, served: FakeAql) -> Cli:
    """Runs amaters-cli against the query service."""

    def run(*arguments: str, stdin: bytes | str | None = None) -> Result:
        return bare("--server", served.address, *arguments, stdin=stdin)

    return run


@pytest.fixture
def ops(bare: Cli, served_admin: FakeAdmin) -> Cli:
    """Runs amaters-cli against the admin service."""

    def run(*arguments: str, stdin: bytes | str | None = None) -> Result:
        return bare("--admin", served_admin.address, *arguments, stdin=stdin)

    return run
