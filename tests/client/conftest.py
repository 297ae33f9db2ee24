"""Real gRPC servers in this process, on ports of their own, for the client's tests."""

from collections.abc import AsyncIterator

import pytest
from amaters.admin import AdminClient
from amaters.testing.admin import FakeAdmin, serve_admin


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
