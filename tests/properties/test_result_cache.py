"""With the cache of results on, every answer is the one it would be without it."""

import asyncio
from itertools import count
from types import SimpleNamespace

import pytest
from amaters.wire.query_pb2 import FilterQuery, Query, RangeQuery
from amaters.wire.types_pb2 import (
    CipherBlob,
    CipherMetadata,
    ColumnRef,
    GtePredicate,
    Key,
    Predicate,
)
from amaters_server.cache import ResultCache
from amaters_server.machine.codec import ProposalId, encode_writes
from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import Membership
from amaters_server.model.keys import collection_prefix, data_key
from amaters_server.model.queries import Put, Remove, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.rpc.aql import decode, encode, scans
from amaters_server.rpc.aql.executor import Executor
from amaters_server.rpc.aql.pending import PendingCalls, QueryLimits
from amaters_server.rpc.aql.queries import filter_walk
from amaters_server.rpc.transport.budget import AnswerBudget
from amaters_server.rpc.transport.tasks import TaskScope
from amaters_server.storage.memory import MemoryEngine
from amaters_server.telemetry.counters import CallCounters
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

COLLECTIONS = ("", "a", "ab")
NAMES = [b"", b"k", b"k\0", b"m", b"x", b"\xff"]
KEYS = st.builds(data_key, st.sampled_from(COLLECTIONS), st.sampled_from(NAMES))


def blob(data: bytes) -> bytes:
    metadata = CipherMetadata(size=len(data), created_at=1)
    return CipherBlob(data=data, metadata=metadata).SerializeToString()


def filtered(collection: str, least: bytes, offset: int, limit: int | None) -> scans.Walk:
    value = CipherBlob(data=least, metadata=CipherMetadata(size=len(least)))
    wanted = GtePredicate(column=ColumnRef(name="v"), value=value)
    query = FilterQuery(collection=collection, predicate=Predicate(gte=wanted), offset=offset)
    if limit is not None:
        query.limit = limit
    return filter_walk(Query(filter=query))


def ranged(collection: str, start: bytes, end: bytes, limit: int | None) -> scans.Walk:
    query = RangeQuery(collection=collection, start=Key(data=start), end=Key(data=end))
    if limit is not None:
        query.limit = limit
    scan = decode.scan(query)
    return scans.Walk(scan.start, scan.end, len(collection_prefix(collection)), limit=scan.limit)


LIMITS = st.none() | st.integers(0, 3)
VALUES = st.sampled_from([b"", b"1", b"2", b"22"])
WALKS = st.builds(
    filtered, st.sampled_from(COLLECTIONS), VALUES, st.integers(0, 2), LIMITS
) | st.builds(
    ranged, st.sampled_from(COLLECTIONS), st.sampled_from(NAMES), st.sampled_from(NAMES), LIMITS
)
CHANGES = st.lists(
    st.builds(Put, KEYS, VALUES.map(blob)) | st.builds(Remove, KEYS), min_size=1, max_size=3
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("walk"), WALKS),
        st.tuples(st.just("write"), CHANGES),
        st.tuples(st.just("reload"), st.none()),
        st.tuples(st.just("turn"), st.none()),
    ),
    max_size=40,
)


class SlowCaller:
    """Somebody whose permission takes several turns of the event loop to renew."""

    async def current(self) -> "SlowCaller":
        for _ in range(3):
            await asyncio.sleep(0)
        return self

    def require(self, _scan) -> None:
        pass


class World:
    """A machine that entries are applied to, and walks over it with and without the cache."""

    def __init__(self, results: ResultCache) -> None:
        self.engine = MemoryEngine()
        self.machine = Machine(self.engine)
        self.engine.write(self.machine.form(Membership("c"), index=1, term=1), sync=True)
        self.machine.on_change = results.changed
        self.indexes = count(2)
        self.clock = asyncio.get_running_loop().time
        self.results = results
        self.walking: list[asyncio.Task[None]] = []

    def write(self, operations) -> None:
        index = next(self.indexes)
        data = encode_writes(ProposalId(1, 1, index), [Write(0, operations, 0.0)], unix_ms=0)
        applied = self.machine.apply([Committed(index, 1, EntryKind.NORMAL, data)])
        self.engine.write(applied.changes, sync=True)
        self.machine.written(applied.version)

    def walk(self, walk: scans.Walk) -> None:
        self.walking.append(asyncio.create_task(self._compare(walk)))

    async def _compare(self, walk: scans.Walk) -> None:
        expected: list[list[bytes]] = []

        async def view(_deadline, *, stale=False):
            reading, rows = scans.Reading(self.machine.view(), walk), []
            while not reading.ended:
                rows += reading.slice()
            expected.append(rows)
            return self.machine.view()

        budget, counters = AnswerBudget(), CallCounters()
        executor = Executor(
            SimpleNamespace(view=view),
            PendingCalls(counters, now=self.clock, limit=10),
            TaskScope(),
            None,
            QueryLimits(),
            self.clock,
            budget,
            results=self.results,
        )
        arrival = SimpleNamespace(deadline=self.clock() + 60, stale=False, caller=SlowCaller())
        answer = await executor._walked(walk, arrival)

        assert answer == [encode.multi_result(expected[0])]


@pytest.fixture
def tiny_slices(monkeypatch):
    """Have a walk rest after every row."""
    monkeypatch.setattr(scans, "SLICE_SECONDS", -1.0)
    monkeypatch.setattr(scans, "ROWS_PER_CHECK", 1)


@pytest.mark.usefixtures("tiny_slices")
@given(steps=STEPS, entries=st.sampled_from([1, 3, 100]))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_answers_are_those_without_the_cache_whatever_is_written_meanwhile(steps, entries):
    asyncio.run(carried_out(steps, ResultCache(max_entries=entries, max_bytes=100_000)))


async def carried_out(steps, results: ResultCache) -> None:
    world = World(results)
    for kind, what in steps:
        if kind == "walk":
            world.walk(what)
        elif kind == "write":
            world.write(what)
        elif kind == "reload":
            world.machine.reload()
        await asyncio.sleep(0)
    await asyncio.gather(*world.walking)
    assert len(results) <= results._max_entries
    assert results.size_bytes == sum(len(one.answer) + 400 for _, one in results._kept.values())
    results.clear()
    assert (len(results), results.size_bytes, results._watched) == (0, 0, {})


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_cache_that_hears_of_no_change_is_found_out(deaf):
    """The check of the property itself."""
    results = ResultCache(max_entries=10, max_bytes=100_000)
    walk = ranged("a", b"", b"z", None)
    steps = [("write", [Put(data_key("a", b"k"), blob(b"1"))]), ("walk", walk)]
    steps += [("turn", None)] * 8
    steps += [("write", [Put(data_key("a", b"k"), blob(b"2"))]), ("walk", walk)]
    if deaf:
        results.changed = lambda *_: None
        with pytest.raises(AssertionError):
            await carried_out(steps, results)
    else:
        await carried_out(steps, results)
        assert results.counts.invalidations == 2, "one by the write, one by the end of the test"


@pytest.mark.usefixtures("tiny_slices")
@pytest.mark.parametrize("turns", range(14))
async def test_a_write_in_any_turn_of_a_walk_is_seen_by_the_next(turns):
    results = ResultCache(max_entries=10, max_bytes=100_000)
    walk = ranged("a", b"", b"z", None)
    rows = [Put(data_key("a", name), blob(b"1")) for name in (b"k", b"m")]
    change = [Put(data_key("a", b"k"), blob(b"2"))]
    meanwhile = [("turn", None)] * turns

    await carried_out(
        [("write", rows), ("walk", walk), *meanwhile, ("write", change)]
        + [("turn", None)] * 20
        + [("walk", walk)],
        results,
    )
