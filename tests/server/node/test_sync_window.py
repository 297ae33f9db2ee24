"""What `storage.wal.sync_mode` promises: which writes are forced to disk, and how soon."""

import math
import queue

import pytest
from amaters_server.node.loop import storage
from amaters_server.node.loop.disk_room import RoomGuard
from amaters_server.node.loop.storage import StorageReports, StorageThread, Written
from amaters_server.raft.outbox import Batch
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.memory import MemoryEngine

ENTRY = [(Space.LOG, b"k", b"v")]


class Recorder(MemoryEngine):
    """Records how each write was written: the number of its operations, and whether synced."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()

    def write(self, changes: Changes, *, sync: bool) -> None:
        super().write(changes, sync=sync)
        self.writes.put((len(changes.operations), sync))


class Bench:
    """A storage thread over an engine that records."""

    def __init__(self, window: float) -> None:
        self.engine = Recorder()
        self.written: list[Written] = []
        reports = StorageReports(
            post=lambda callback: callback(),
            written=self.written.append,
            full=lambda _: None,
            low=lambda _: None,
            failed=lambda _: None,
        )
        self.thread = StorageThread(
            self.engine, reports, sync_seconds=window, guard=RoomGuard(configured=0)
        )

    def is_synced(self, *, sync: bool = True, vote: bool = False) -> bool:
        """Write one batch in this thread; return whether it was forced to disk."""
        self.thread._write([Batch(1, Changes(list(ENTRY)), sync=sync, vote=vote)])
        return self.engine.writes.get_nowait()[1]


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(storage, "time", clock)
    return clock


def test_always_syncs_each_group():
    bench = Bench(0.0)

    assert [bench.is_synced() for _ in range(3)] == [True] * 3


def test_an_interval_is_kept_however_many_writes_come(clock):
    bench = Bench(0.1)
    synced = []
    for step in range(31):
        clock.now = 1000 + step / 100
        if bench.is_synced():
            synced.append(step)

    assert synced == [10, 21]


def test_the_last_write_is_synced_though_no_other_follows():
    bench = Bench(0.05)
    bench.thread.start()
    bench.thread.submit(Batch(1, Changes(list(ENTRY)), sync=True))

    assert bench.engine.writes.get(timeout=10) == (1, False)
    assert bench.engine.writes.get(timeout=10) == (0, True)
    with pytest.raises(queue.Empty):
        bench.engine.writes.get(timeout=0.2)
    bench.thread.stop()
    assert [(one.token, one.synced) for one in bench.written] == [(1, False), (0, True)]


@pytest.mark.parametrize("window", [0.1, math.inf])
def test_a_vote_is_synced_at_once_and_all_before_it_too(clock, window):
    bench = Bench(window)
    assert not bench.is_synced()

    assert bench.is_synced(vote=True)

    clock.now += 0.09
    assert not bench.is_synced()


def test_none_leaves_entries_to_the_operating_system(clock):
    bench = Bench(math.inf)
    for _ in range(3):
        assert not bench.is_synced()
        clock.now += 3600


def test_what_need_not_be_durable_begins_no_interval(clock):
    bench = Bench(0.1)
    assert not bench.is_synced(sync=False)
    clock.now += 1

    assert not bench.is_synced()
