"""A fenced node follows and votes, serves nobody, and does not lead; on real processes."""

import asyncio
import time
import urllib.error
import urllib.request

import pytest
from amaters import AdminClient, AmatersError

pytestmark = pytest.mark.slow


def readiness(server) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(
            f"http://{server.host}:{server.http_port}/readyz", timeout=5
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def leads(*servers) -> int:
    """Return which of the nodes leads, once they agree; they are numbered from 0."""
    async with asyncio.timeout(30):
        while True:
            found = [await status(one) for one in servers]
            named = {one.leader_id for one in found if one is not None}
            own = [at for at, one in enumerate(found) if one is not None and one.is_leader]
            if len(named) == 1 and None not in found and own:
                return own[0]
            await asyncio.sleep(0.1)


async def status(server):
    try:
        async with AdminClient.connect(server.internal) as admin:
            return await admin.status()
    except AmatersError:
        return None


async def fence(server, fenced: bool) -> None:
    async with AdminClient.connect(server.internal) as admin:
        await admin.set_fenced(fenced)


@pytest.mark.timeout(120)
async def test_a_fenced_leader_steps_aside_and_stays_aside(cluster, call):
    fenced = cluster[await leads(*cluster)]
    others = [one for one in cluster if one is not fenced]

    began = time.monotonic()
    await fence(fenced, True)
    assert (await status(fenced)).leader_id != (await status(fenced)).node_id
    assert time.monotonic() - began < 5
    code, text = readiness(fenced)
    assert (code, "fenced" in text) == (503, True)
    async with call(others[0].client) as caller:
        await caller.set(b"k", b"while fenced")

    fenced.kill()
    fenced.start()
    async with asyncio.timeout(30):
        while (found := await status(fenced)) is None or not found.leader_id:
            await asyncio.sleep(0.1)
    assert found.fenced
    assert readiness(fenced)[0] == 503

    # Its vote still counts: with one of the others down, the last one leads.
    leading = others[await leads(*others)]
    (last,) = [one for one in others if one is not leading]
    leading.kill()
    assert await leads(fenced, last) == 1
    async with call(last.client) as caller:
        assert await caller.get(b"k") == b"while fenced"

    # The other one lacks what was written last: the fenced node leads until that has caught up.
    last.kill()
    leading.start()
    async with asyncio.timeout(30):
        while await leads(fenced, leading) == 0:
            await asyncio.sleep(0.2)
    async with call(leading.client) as caller:
        assert await caller.get(b"k") == b"while fenced"

    last.start()
    await fence(fenced, False)
    await fenced.ready()
    assert not (await status(fenced)).fenced


@pytest.mark.timeout(60)
async def test_where_all_are_fenced_one_goes_on_leading(cluster, call):
    await leads(*cluster)
    for one in cluster:
        await fence(one, True)
    await asyncio.sleep(2)
    led = [one for one in cluster if (await status(one)).is_leader]
    assert len(led) == 1
    assert {readiness(one)[0] for one in cluster} == {503}
    async with call(led[0].client) as caller:
        await caller.set(b"k", b"v")

    for one in cluster:
        await fence(one, False)
        await one.ready()


@pytest.mark.timeout(60)
async def test_a_lone_node_can_be_fenced_and_goes_on(server, call):
    one = server({})
    one.start()
    await one.ready()
    await fence(one, True)
    assert readiness(one)[0] == 503
    async with call(one.client) as caller:
        await caller.set(b"k", b"v")
    await fence(one, False)
    await one.ready()
