"""Real gRPC servers in this process, on ports of their own, for the client's tests."""

from collections.abc import AsyncIterator

import pytest
from amaters.admin import AdminClient
from amaters.client import AmatersClient
from amaters.testing.admin import FakeAdmin, serve_admin
from amaters.testing.aql import FakeAql, FakeCluster, serve_aql


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
