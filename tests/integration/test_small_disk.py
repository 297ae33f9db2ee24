"""A node on a small file system: it refuses data before the disk is full, and recovers by itself."""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from amaters.wire.errors_pb2 import ErrorCode

pytestmark = pytest.mark.slow

MEBIBYTES = 96
VALUE = os.urandom(60_000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEBIBYTES}m", "tmpfs", str(mount)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=False)


def grow(mount: Path) -> None:
    options = f"remount,size={4 * MEBIBYTES}m"
    subprocess.run(["mount", "-o", options, str(mount)], check=True)


def metric(one, name: str) -> float:
    lines = one.page("/metrics")[1].splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


async def fill(caller, keys: list[bytes]) -> tuple[float, int]:
    """Write as fast as it goes until a write is refused; return how long that took, and the code."""
    while True:
        batch = [b"%06d" % (len(keys) + more) for more in range(8)]
        begun = time.monotonic()
        answers = await asyncio.gather(*(caller.set(key, VALUE, timeout=20) for key in batch))
        took = time.monotonic() - begun
        for key, answer in zip(batch, answers, strict=True):
            if answer.WhichOneof("response") == "error":
                return took, answer.error.code
            keys.append(key)


async def test_a_lone_node_stops_in_front_of_a_full_disk_and_goes_on_with_room(
    server, call, small_disk
):
    one = server(
        {"server": {"data_dir": str(small_disk / "data")}, "storage": {"memtable_size_mb": 4}}
    )
    one.start()
    await one.ready()
    keys: list[bytes] = []
    async with call(one.client) as caller:
        took, code = await fill(caller, keys)
        reads = [await caller.get(key) for key in keys[:: len(keys) // 20]]
        deleted = [(await caller.delete(key)).WhichOneof("response") for key in keys[:50]]
        ready = one.page("/readyz")
        refusals, low, full, free = (
            metric(one, f"amaters_{name}")
            for name in ("storage_full_refusals_total", "disk_low", "disk_full", "disk_free_bytes")
        )
        async with asyncio.timeout(10):
            while not (alerts := [found["rule"] for found in one.events("alert.fired")]):
                await asyncio.sleep(0.1)
        grow(small_disk)
        async with asyncio.timeout(10):
            while (await caller.set(b"after", b"v")).WhichOneof("response") != "result":
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)

    print(f"{len(keys)} writes; refused after {took * 1000:.0f} ms; {free / 2**20:.0f} MiB left")
    assert code == ErrorCode.ERROR_STORAGE_FULL
    assert took < 2
    assert reads == [VALUE] * len(reads)
    assert deleted == ["result"] * 50
    assert ready[0] == 200
    assert not one.events("storage.full"), "the limit comes before the disk is full"
    assert (low, full) == (1, 0)
    assert refusals >= 1
    assert alerts == ["storage_low"]
    assert metric(one, "amaters_disk_low") == 0
