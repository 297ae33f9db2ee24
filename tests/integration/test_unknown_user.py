"""A node under a user that no file knows, as OpenShift's restricted-v2 assigns one.

Its volume belongs to root and to the group that the platform chose, and so does its configuration.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from amaters import AmatersClient
from amaters_server.testing.processes import ServerProcess, kill_all

USER, GROUP = 1_000_650_000, 1_000_650_001

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv"
    ),
]


@pytest.fixture
def volume():
    """A folder as Kubernetes mounts it with fsGroup: root's, and writable for the group."""
    with tempfile.TemporaryDirectory(prefix="amaters-") as name:
        folder = Path(name)
        os.chown(folder, 0, GROUP)
        folder.chmod(0o2775)
        yield folder


async def test_it_serves_restarts_and_keeps_its_data(volume):
    ids = (f"--reuid={USER}", "--regid=0", f"--groups={GROUP}")
    launcher = ("setpriv", *ids, "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
    environment = {"HOME": "/", "USER": ""}
    node = ServerProcess(volume, launcher=("env", "-u", "LOGNAME", *_set(environment), *launcher))
    os.chown(node.config, 0, GROUP)
    node.config.chmod(0o440)
    try:
        node.start()
        await node.ready()
        async with await AmatersClient.connect(node.client) as client:
            await client.set("c", b"k", b"v")
        assert await node.stop() == 0

        node.start()
        await node.ready()
        async with await AmatersClient.connect(node.client) as client:
            assert await client.get("c", b"k") == b"v"
        assert (volume / "data").stat().st_uid == USER
        assert await node.stop() == 0
    finally:
        kill_all([node])


def _set(variables: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in variables.items())
