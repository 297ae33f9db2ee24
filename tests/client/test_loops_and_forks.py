"""A client that is used where it does not belong: in another event loop, or after a fork."""

import asyncio
import subprocess
import sys
import time

import pytest
from amaters.admin.client import AdminClient
from amaters.data.client import AmatersClient
from amaters.errors import InvalidRequestError
from amaters.testing.admin import FakeAdmin
from amaters.testing.aql import FakeAql


def test_a_second_event_loop_is_refused_with_the_remedy(served: FakeAql) -> None:
    async def begin() -> AmatersClient:
        client = await AmatersClient.connect(served.address)
        await client.set("c", "k", b"v")
        return client

    async def go_on(client: AmatersClient) -> None:
        async with client:
            for call in (client.get("c", "k"), client.set("c", "k", b"w"), client.health_check()):
                with pytest.raises(
                    InvalidRequestError, match=r"another event loop: make one in each"
                ):
                    await call
            with pytest.raises(InvalidRequestError, match="another event loop"):
                _ = [one async for one in client.scan("c")]

    begun = time.monotonic()
    client = asyncio.run(begin())
    asyncio.run(go_on(client))

    assert time.monotonic() - begun < 5
    assert client.connections in (0, 1)


def test_an_administrators_client_is_refused_there_too(served_admin: FakeAdmin) -> None:
    async def begin() -> AdminClient:
        admin = AdminClient.connect(served_admin.address)
        await admin.status()
        return admin

    async def go_on(admin: AdminClient) -> None:
        with pytest.raises(InvalidRequestError, match="another event loop"):
            await admin.status()
        await admin.close()

    asyncio.run(go_on(asyncio.run(begin())))


def test_a_client_that_was_only_made_belongs_to_the_loop_of_its_first_call(
    served: FakeAql,
) -> None:
    client = AmatersClient(served.address)

    async def use() -> bytes | None:
        async with client:
            return await client.get("c", "k")

    assert asyncio.run(use()) is None


FORKING = """
import asyncio, os, sys
from amaters import AmatersClient

async def use(client):
    async with client:
        try:
            await client.get("c", "k")
        except Exception as error:
            print(type(error).__name__, error, flush=True)

async def main():
    async with await AmatersClient.connect(sys.argv[1]) as client:
        await client.set("c", "k", b"v")
        child = os.fork()
        if child == 0:
            asyncio.run(use(client))
            os._exit(0)
        os.waitpid(child, 0)
        print(await client.get("c", "k"), flush=True)

asyncio.run(main())
"""


def test_a_child_is_refused_with_the_remedy_and_its_parent_goes_on(served: FakeAql) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKING, served.address],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    child, parent = done.stdout.splitlines()
    assert child.startswith(f"InvalidRequestError {served.address}: this client was made before")
    assert "start processes by `spawn`" in child
    assert parent == "b'v'"
