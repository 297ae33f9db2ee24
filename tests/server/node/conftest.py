import pytest
from amaters_server.testing.loopback import founders, ready


@pytest.fixture
async def cluster(tmp_path):
    """Start clusters; everything still running is stopped afterwards."""
    running = []

    async def start(count, **options):
        nodes = founders(count, tmp_path, **options)
        for node in nodes:
            await node.start()
            running.append(node)
        await ready(nodes)
        return nodes

    start.running = running
    yield start
    for node in reversed(running):
        await node.stop(0)
