"""The disk of a stopped node is flushed and closed; a flush that hangs holds up nothing else."""

import asyncio
import threading

import pytest
from amaters_server.machine.machine import Machine
from amaters_server.node.joining.closing import DiskClosing
from amaters_server.node.joining.open_replica import Disk, flush_tables, sync_log
from amaters_server.raft.log import Log
from amaters_server.storage.memory import MemoryEngine


class Watched(MemoryEngine):
    """Records the last steps, and waits in a flush until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []
        self.may_flush = threading.Event()
        self.may_flush.set()

    def write(self, changes, *, sync):
        self.done.append("sync" if sync else "write")
        super().write(changes, sync=sync)

    def flush(self):
        assert self.may_flush.wait(30)
        self.done.append("flush")

    def close(self):
        self.done.append("close")
        super().close()


@pytest.fixture
def engine() -> Watched:
    return Watched()


@pytest.fixture
def failed() -> list[bool]:
    return [False]


@pytest.fixture
def closing(engine, failed) -> DiskClosing:
    return DiskClosing(Disk(engine, Machine(engine), Log(engine)), lambda: failed[0])


async def test_the_steps_follow_each_other_and_none_is_made_twice(closing, engine):
    await closing.run(sync_log)
    await closing.run(flush_tables)
    await closing.end()
    await closing.end()
    await closing.run(flush_tables)

    assert engine.done == ["sync", "flush", "close"]


async def test_a_disk_that_nobody_flushed_is_flushed_at_its_end(closing, engine):
    await closing.end()

    assert engine.done == ["flush", "close"]


async def test_a_disk_that_failed_is_closed_as_it_is(closing, engine, failed):
    failed[0] = True
    await closing.run(sync_log)
    await closing.end()

    assert engine.done == ["close"]


async def test_a_flush_that_was_left_keeps_the_disk_open(closing, engine, caplog):
    engine.may_flush.clear()
    flushing = asyncio.create_task(closing.run(flush_tables))
    await asyncio.sleep(0.01)
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing

    await closing.end()

    assert closing.is_busy
    assert engine.done == []
    assert "storage.left_open" in caplog.text
    engine.may_flush.set()
