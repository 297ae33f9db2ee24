"""Reads whose answers are large: as many as there is memory for, and small ones beside them."""

import asyncio

import pytest
from amaters_server.machine.execute import MOST_RESULT_BYTES, Workspace
from amaters_server.machine.overlay import Overlay
from amaters_server.model.errors import DatabaseError, OverloadedError, ShuttingDownError
from amaters_server.model.keys import DataKey
from amaters_server.model.queries import NOT_KEPT, Get, Put, Read, Scan
from amaters_server.node.loop.answering import MOST_LARGE, Reader
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.memory import MemoryEngine

KEY, SMALL_KEY = DataKey(b"large"), DataKey(b"small")
LARGE, SMALL = bytes(1 << 20), b"value"
LARGEST = 4 << 20


class Room:
    """Room for so many large answers."""

    small = 1024
    largest = LARGEST

    def __init__(self, free: int) -> None:
        self.free = free
        self.resumes = []

    def has_room(self) -> bool:
        return self.free > 0

    def when_freed(self, resume) -> None:
        self.resumes.append(resume)

    def not_taken(self) -> DatabaseError:
        return OverloadedError(waiting=0, limit=0)

    def too_large(self) -> DatabaseError:
        return DatabaseError("too large")

    def freed(self, count: int) -> None:
        self.free += count
        resumes, self.resumes = self.resumes, []
        for resume in resumes:
            resume()


class Machine:
    def __init__(self) -> None:
        self.values = {KEY: LARGE, SMALL_KEY: SMALL}
        self.most = 0

    def get_many(self, keys):
        self.most = max(self.most, len(keys))
        return [self.values.get(key) for key in keys]

    def view(self):
        return View(self.values)


class View:
    def __init__(self, values) -> None:
        self.values = values

    def get(self, key):
        return self.values.get(key)

    def scan(self, start, end):
        return ((key, self.values[key]) for key in sorted(self.values) if start <= key < end)

    def close(self) -> None: ...


class Node:
    """A reader, its room, and what was answered."""

    def __init__(self, free: int) -> None:
        self.room, self.machine, self.now = Room(free), Machine(), 0.0
        self.reader = Reader(self.machine, self.room, lambda: self.now)
        self.answered = {}

    def answers(self, answered) -> None:
        for ticket, answer in answered:
            assert ticket not in self.answered
            self.answered[ticket] = answer
            if isinstance(answer, list) and any(
                isinstance(one, bytes) and one is LARGE for one in answer
            ):
                self.room.free -= 1

    def ask(self, *reads: Read) -> None:
        self.reader.answer(reads, self.answers)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.answered) < count:
                await asyncio.sleep(0.001)


def get(ticket: int, key: DataKey = KEY, deadline: float = 10.0) -> Read:
    return Read(ticket, (Get(key),), deadline)


async def test_large_values_are_answered_as_far_as_there_is_room():
    node = Node(free=3)
    node.ask(*(get(ticket) for ticket in range(20)))
    await node.until(3)
    await asyncio.sleep(0.02)

    assert sorted(node.answered) == [0, 1, 2]
    assert node.reader.waiting == 17
    assert node.machine.most <= 4, "each of those looked up together may be the largest"

    node.room.freed(17)
    await node.until(20)
    assert node.reader.waiting == 0


async def test_small_values_do_not_wait_behind_large_ones():
    node = Node(free=0)
    node.ask(*(get(ticket) for ticket in range(50)))

    node.ask(get(100, SMALL_KEY), get(101, DataKey(b"absent")))

    assert node.answered == {100: [SMALL], 101: [None]}


async def test_those_that_wait_are_refused_when_their_time_is_up():
    node = Node(free=0)
    node.ask(get(1, deadline=0.5), get(2))
    node.now = 1.0
    await node.until(1)

    assert isinstance(node.answered[1], OverloadedError)
    assert node.reader.waiting == 1
    node.reader.abandon(ShuttingDownError())
    assert isinstance(node.answered[2], ShuttingDownError)


async def test_no_more_than_some_hundred_wait():
    node = Node(free=0)
    node.ask(*(get(ticket) for ticket in range(MOST_LARGE + 10)))
    await node.until(10)

    assert all(isinstance(answer, OverloadedError) for answer in node.answered.values())
    assert node.reader.waiting == MOST_LARGE
    node.reader.abandon(ShuttingDownError())


async def test_a_batch_ends_where_no_message_would_hold_it():
    """300 Gets of one large value once took 4 GiB before they were refused."""
    node = Node(free=9)
    node.ask(Read(1, tuple(Get(KEY) for _ in range(300)), 10.0))
    node.ask(Read(2, (Get(KEY), Get(SMALL_KEY)), 10.0))

    assert str(node.answered[1]) == "too large"
    assert node.answered[2] == [LARGE, SMALL]


async def test_long_scans_end_there_too_and_begin_when_there_is_room():
    node = Node(free=0)
    everything = Scan(DataKey(b""), DataKey(b"z"), None)
    node.ask(Read(1, (everything,), 10.0), Read(2, tuple([everything] * 10), 10.0))
    await asyncio.sleep(0.02)
    assert node.answered == {}

    node.room.freed(1)
    await node.until(2)

    assert node.answered[1] == [[(KEY, LARGE), (SMALL_KEY, SMALL)]]
    assert str(node.answered[2]) == "too large"


@pytest.mark.parametrize("reading", [Get(KEY), Scan(DataKey(b""), DataKey(b"z"), None)])
def test_reads_among_writes_return_no_more_than_some_messages(reading):
    """All members carry them out, so 300 Gets of one value once took 4 GiB on each."""
    engine = MemoryEngine()
    workspace = Workspace(Overlay(), engine)
    engine.write(_stored(), sync=False)
    count = MOST_RESULT_BYTES // len(LARGE)

    results = workspace.run([*[reading] * (3 * count), Put(SMALL_KEY, SMALL), Get(SMALL_KEY)])

    assert results[0] == (LARGE if isinstance(reading, Get) else [(KEY, LARGE)])
    assert results[count + 2 :] == [NOT_KEPT] * (2 * count - 2) + [1, NOT_KEPT]
    assert workspace.batch == {SMALL_KEY: SMALL}


def _stored():
    changes = Changes()
    changes.operations = [(Space.DATA, KEY, LARGE)]
    return changes
