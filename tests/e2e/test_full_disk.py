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
CAPACITY = "256Mi"
"""Of the volumes of that class."""
CALL = """
import asyncio, sys
from amaters import AmatersClient, AmatersError

async def main():
    async with await AmatersClient.connect(["127.0.0.1:7878"]) as db:
        try:
            if sys.argv[1] == "set":
                await db.set("default", sys.argv[2], b"x" * 1000)
            else:
                print(len(await db.get("default", sys.argv[2]) or b""))
        except AmatersError as refused:
            print(refused.server_code or refused.code)

asyncio.run(main())
"""


def called(cluster, what: str, key: str, pod: str = "") -> str:
    """Call as an application does; return what it got, or the server's code of the failure."""
    inside = pod or f"{cluster.name}-0"
    return cluster.kubectl("exec", inside, "--", "python", "-c", CALL, what, key).strip()


def written(cluster, key: str) -> str:
    """Write; return the server's code of what kept that from happening, empty when nothing did."""
    return called(cluster, "set", key)


def until_refused(cluster) -> None:
    """Wait until writes are refused for want of room: a node looks at its disk once a second."""
    eventually(
        "writes are refused",
        lambda: written(cluster, "more") == "storage_full",
        within=60,
        explain=cluster.describe,
    )


def restarts(cluster) -> list[int]:
    return [pod["status"]["containerStatuses"][0]["restartCount"] for pod in cluster.pods.values()]


@pytest.fixture
def growable():
    with growing.growable(Bed(places()).kube, SMALL["className"], CAPACITY) as resizer:
        yield resizer


@contextlib.contextmanager
def full_disks(cluster):
    """Fill the three volumes of a new cluster; yields it, and what empties them again."""
    full = cluster("full", replicas=3, storage=SMALL)
    full.until_ready(3)
    for number in range(20):
        assert written(full, f"key-{number}") == ""
    kube, namespace = Bed(places()).kube, full.kubectl.namespace
    with contextlib.ExitStack() as disks:
        for number in range(3):
            folder = faults.volume_folder(kube, f"data-full-{number}", namespace=namespace)
            disks.enter_context(faults.full_disk(folder))
        yield full, disks.close


def test_a_full_disk_reads_and_refuses_and_writes_again_once_it_is_freed(cluster):
    with full_disks(cluster) as (full, free):
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
        print(f"after {time.monotonic() - start:.1f} s {condition['reason']}: "
              f"{condition['message']}")  # fmt: skip
        assert condition["reason"] in {"WritesRefused", "DiskFull"}
        for pod in full.pods:
            assert called(full, "get", "key-19", pod) == "1000"

        full.patch(storage={**SMALL, "size": "300Mi"})
        said = eventually(
            "the class that cannot grow is named",
            lambda: f if (f := full.condition("DiskPressure")).get("reason") == "VolumeNotGrown"
            else None,
            within=60,
            explain=full.describe,
        )  # fmt: skip
        print(f"{said['reason']}: {said['message']}")

        free()
        start = time.monotonic()
        eventually("writes resume", lambda: written(full, "again") == "", within=60)
        print(f"writes resume {time.monotonic() - start:.1f} s after the disks are free")
        eventually("ready", lambda: len(full.ready_pods) == 3, within=60, explain=full.describe)
        assert restarts(full) == [0, 0, 0]


@pytest.mark.parametrize("by", ["spec", "itself"])
def test_a_full_disk_grows_and_writes_resume(growable, cluster, by):
    with full_disks(cluster) as (full, _):
        until_refused(full)
        start = time.monotonic()
        if by == "spec":
            full.patch(storage={**SMALL, "size": "600Mi"})
        else:
            full.patch(storage={**SMALL, "autoGrow": {"below": "20%", "by": "100%", "max": "1Gi"}})

        def explain() -> str:
            return f"{growable}\n{full.describe()}"

        eventually("writes", lambda: written(full, "again") == "", within=120, explain=explain)
        print(f"\ngrown by {by}: {sorted(growable.grown)}; writes resume "
              f"after {time.monotonic() - start:.1f} s")  # fmt: skip
        eventually(
            "the disk has room again",
            lambda: full.condition("DiskPressure").get("status") == "False",
            within=120,
            explain=explain,
        )
        assert len(growable.grown) >= 3
        for pod in full.pods:
            assert called(full, "get", "key-19", pod) == "1000"
        eventually("ready", lambda: len(full.ready_pods) == 3, within=60, explain=full.describe)
        assert restarts(full) == [0, 0, 0]
