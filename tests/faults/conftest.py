"""One network for all tests here, the clusters on it, and a seed that is told."""

import contextlib
import os
from zlib import crc32

import pytest
from amaters_server.testing.processes import NotUpError
from faultbed import lab, members
from faultbed.disks import disk
from faultbed.links import proxied, toxiproxy_lacking
from faultbed.requirements import lacking, require

DISK_MEBIBYTES = 256


@pytest.fixture(scope="session")
def hosts():
    """Build the hosts once: what dead test runs left is swept away first."""
    require(lacking())
    with lab.lab() as made:
        yield made


@pytest.fixture
def seed(request):
    """Seed of everything that is drawn: of the test's name, so that each run is the same one."""
    chosen = int(os.environ.get("FAULT_SEED") or crc32(request.node.name.encode()))
    print(f"seed {chosen}: FAULT_SEED={chosen} replays it")
    return chosen


class Stage:
    """The hosts carry one cluster at a time; one that no test has spoilt is used again."""

    def __init__(self, hosts, folders):
        self.hosts = hosts
        self.folders = folders
        self.standing = None

    async def stand(self):
        """Return the standing cluster, all members ready; a new one where it is not."""
        if self.standing is not None:
            try:
                await self.standing.ready(5)
            except NotUpError:
                self.clear()
            else:
                return self.standing
        made = members.create(self.hosts, self.folders.mktemp("standing"))
        self.standing = made
        await made.start()
        return made

    def clear(self):
        """End the standing cluster, if there is one."""
        standing, self.standing = self.standing, None
        if standing is not None:
            standing.kill()


@pytest.fixture(scope="session")
def stage(hosts, tmp_path_factory):
    """Build the stage, and leave it empty."""
    made = Stage(hosts, tmp_path_factory)
    yield made
    made.clear()


@pytest.fixture
async def cluster(stage):
    """Three members that other tests may use afterwards: for faults that end no process."""
    return await stage.stand()


@pytest.fixture
async def fresh(stage, tmp_path):
    """Start clusters of a test's own, killed at its end: `await fresh(data=..., mutation=...)`."""
    stage.clear()
    made = []

    async def start(**details):
        made.append(members.create(stage.hosts, tmp_path, **details))
        await made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.kill()


@pytest.fixture
async def own_cluster(fresh):
    """Three members of this test's own."""
    return await fresh()


@pytest.fixture
async def on_own_disks(fresh, tmp_path):
    """Three members whose data lies on filesystems of their own; gives both."""
    with contextlib.ExitStack() as mounted:
        drives = [
            mounted.enter_context(disk(tmp_path, f"disk{number}", DISK_MEBIBYTES))
            for number in (1, 2, 3)
        ]
        made = await fresh(data=[drive.folder for drive in drives])
        yield made, drives
        made.kill()


@pytest.fixture
async def linked(stage, tmp_path):
    """Start three members with a proxy on every link: `await linked(mutation=...)` gives both."""
    require(toxiproxy_lacking())
    stage.clear()
    with contextlib.ExitStack() as undo:

        async def start(**details):
            made = members.create(stage.hosts, tmp_path, **details)
            proxies = undo.enter_context(proxied(stage.hosts, made.members))
            undo.callback(made.kill)
            await made.start()
            return made, proxies

        yield start
