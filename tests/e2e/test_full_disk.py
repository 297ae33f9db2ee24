"""Disks without a byte left: reads go on, writes are refused with their code, and come back."""

import contextlib
import os
import time

import pytest
from testbed import faults, growing
from testbed.lifecycle import Cluster as Bed
from testbed.places import places

from demo.kubectl import CommandError, eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.nightly,
    pytest.mark.skipif(
        bool(os.environ.get("KUBECONFIG")), reason="fills disks of the test bed's own nodes"
    ),
]

SMALL = {"className": "local-small", "size": "200Mi"}
WRITE = """
import asyncio, sys
from amaters import AmatersClient, AmatersError

async def main():
    async with await AmatersClient.connect(["127.0.0.1:7878"]) as db:
        try:
            await db.set("default", sys.argv[1], b"x" * 1000)
        except AmatersError as refused:
            print(refused.server_code or refused.code)

asyncio.run(main())
"""


def written(cluster, key: str) -> str:
    """Write as an application does; return the server's code of what kept that from happening."""
    pod = f"{cluster.name}-0"
    return cluster.kubectl("exec", pod, "--", "python", "-c", WRITE, key).strip()


def largest(cluster) -> int:
    """Return the mebibytes of the largest volume: an earlier test may have grown it."""
    claims = cluster.kubectl.items("pvc", f"app.kubernetes.io/instance={cluster.name}")
    return max(growing.amount(one["status"]["capacity"]["storage"]) >> 20 for one in claims)


def until_refused(cluster) -> None:
    """Wait until writes are refused for want of room: a node looks at its disk once a second."""
    eventually(
        "writes are refused",
        lambda: written(cluster, "more") == "storage_full",
        within=60,
        explain=cluster.describe,
    )


@pytest.fixture
def filled(cluster):
    """Three small volumes that are full; `free` empties them."""
    full = cluster("full", replicas=3, storage=SMALL)
    full.until_ready(3)
    for number in range(20):
        assert written(full, f"key-{number}") == ""
    kube = Bed(places()).kube
    folders = [
        faults.volume_folder(kube, f"data-full-{number}", namespace=full.kubectl.namespace)
        for number in range(3)
    ]
    with contextlib.ExitStack() as disks:
        for folder in folders:
            disks.enter_context(faults.full_disk(folder))
        yield full, disks.close


def test_a_full_disk_reads_and_refuses_and_writes_again_once_it_is_freed(filled):
    full, free = filled
    start = time.monotonic()
    until_refused(full)
    with pytest.raises(CommandError) as refused:
        full.cli("set", "more", "x")
    print(f"\n{refused.value}")
    condition = eventually(
        "the disk is told",
        lambda: f if (f := full.condition("DiskPressure")).get("status") == "True" else None,
        within=90,
        explain=full.describe,
    )
    print(f"after {time.monotonic() - start:.1f} s {condition['reason']}: {condition['message']}")
    assert condition["reason"] in {"WritesRefused", "DiskFull"}
    for pod in full.pods:
        assert "x" * 1000 in full.cli("get", "key-19", pod=pod)

    full.patch(storage={**SMALL, "size": "300Mi"})
    said = eventually(
        "the class that cannot grow is named",
        lambda: (
            f if (f := full.condition("DiskPressure")).get("reason") == "VolumeNotGrown" else None
        ),
        within=60,
        explain=full.describe,
    )
    print(f"{said['reason']}: {said['message']}")

    free()
    start = time.monotonic()
    eventually("writes resume", lambda: not written(full, "again"), within=60)
    print(f"writes resume {time.monotonic() - start:.1f} s after the disks are free")
    eventually("ready", lambda: len(full.ready_pods) == 3, within=60, explain=full.describe)
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in full.pods.values()]
    assert restarts == [0, 0, 0]


@pytest.mark.parametrize("by", ["spec", "itself"])
def test_a_full_disk_grows_and_writes_resume(filled, by):
    full, _ = filled
    until_refused(full)
    start = time.monotonic()

    with growing.growable(Bed(places()).kube, "local-small", full.kubectl.namespace) as grown:
        if by == "spec":
            full.patch(storage={**SMALL, "size": f"{largest(full) + 300}Mi"})
        else:
            full.patch(storage={**SMALL, "autoGrow": {"below": "20%", "by": "100%", "max": "4Gi"}})
        eventually(
            "writes resume", lambda: not written(full, "again"), within=120, explain=full.describe
        )
        print(
            f"grown by {by}: {sorted(grown)}; writes resume after {time.monotonic() - start:.1f} s"
        )
        eventually(
            "the disk has room again",
            lambda: full.condition("DiskPressure").get("status") == "False",
            within=120,
            explain=full.describe,
        )
    assert len(grown) >= 3
    eventually("ready", lambda: len(full.ready_pods) == 3, within=60, explain=full.describe)
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in full.pods.values()]
    assert restarts == [0, 0, 0]
