"""A real server starts on the data of an earlier version, serves it, and goes on from there."""

import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EARLIER = Path(__file__).parents[1] / "server" / "app" / "earlier" / "data-before-format.tar.gz"


async def test_a_server_serves_what_an_earlier_version_stored(server, call):
    one = server()
    with tarfile.open(EARLIER) as archive:
        archive.extractall(one.folder / "data", filter="data")
    one.start()
    await one.ready()

    async with call(one.client) as client:
        rows = await client.range(b"key-", b"key-~", collection="orders")
        assert rows == [(b"key-%03d" % number, b"value-%03d" % number) for number in range(40)]
        await client.set(b"new", b"value")
    assert [event["migration"] for event in one.events("data.migrated")] == [
        "name_the_format",
        "name_the_manifest",
    ]
    assert await one.stop() == 0, one.log

    one.start()
    await one.ready()
    async with call(one.client) as client:
        assert await client.get(b"new") == b"value"
    assert len(one.events("data.migrated")) == 2
    assert await one.stop() == 0
