"""The Lease, on a clock of its own: at most one holder, and a quick takeover."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from amaters_operator.app.health import Metrics
from amaters_operator.app.run import Heartbeat, Operator, Settings, loop_thread
from amaters_operator.kube import kinds
from amaters_operator.kube.errors import ApiUnreachableError, ConflictError, LeaseLostError
from amaters_operator.kube.lease import Lease, LeaseTimings
from amaters_operator.manifests import Home
from amaters_operator.testing import Driver
from amaters_operator.testing.virtual_time import in_virtual_time
from amaters_operator.testing.world import NAME, NAMESPACE
from prometheus_client import CollectorRegistry

QUICK = LeaseTimings(duration_seconds=2.4, renew_seconds=0.05, give_up_seconds=1.6)


class Store:
    """One Lease, with the API server's optimistic lock."""

    def __init__(self) -> None:
        self.lease: dict | None = None
        self.version = 0
        self.seconds = 0
        self.down_for: set[str] = set()

    def seen_by(self, who: str) -> "View":
        return View(self, who)


class View:
    def __init__(self, store: Store, who: str) -> None:
        self.store, self.who = store, who

    def now(self) -> datetime:
        self.store.seconds += 1
        return datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(seconds=self.store.seconds)

    def _answer(self) -> None:
        if self.who in self.store.down_for:
            raise ApiUnreachableError("down")

    async def get(self, kind, namespace, name):
        self._answer()
        assert kind == kinds.LEASE
        if self.store.lease is None:
            return None
        meta = {"name": name, "namespace": namespace, "resourceVersion": self.store.version}
        return {"metadata": meta, "spec": dict(self.store.lease)}

    async def create(self, manifest):
        self._answer()
        if self.store.lease is not None:
            raise ConflictError("exists")
        self._write(manifest)

    async def replace(self, manifest):
        self._answer()
        if manifest["metadata"]["resourceVersion"] != self.store.version:
            raise ConflictError("changed")
        self._write(manifest)

    def _write(self, manifest) -> None:
        self.store.lease = dict(manifest["spec"])
        self.store.version += 1


def lease(store: Store, who: str) -> Lease:
    return Lease(
        store.seen_by(who),
        namespace="ns",
        name="op",
        identity=who,
        monotonic=lambda: asyncio.get_running_loop().time(),
    )


def quick(store: Store, who: str) -> Lease:
    """A lease on the real clock, five times as fast."""
    view = store.seen_by(who)
    return Lease(
        view, namespace="ns", name="op", identity=who, monotonic=time.monotonic, timings=QUICK
    )


def holder(store: Store) -> str:
    return (store.lease or {}).get("holderIdentity", "")


@in_virtual_time
async def test_the_first_takes_it_and_the_second_waits() -> None:
    store = Store()
    await lease(store, "a").acquire()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lease(store, "b").acquire(), 5)

    assert holder(store) == "a"


@in_virtual_time
async def test_a_holder_that_renews_keeps_it() -> None:
    store = Store()
    first = lease(store, "a")
    await first.acquire()
    keeping = asyncio.create_task(first.hold())

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lease(store, "b").acquire(), 120)

    keeping.cancel()
    assert holder(store) == "a"


@in_virtual_time
async def test_a_dead_holder_is_replaced_within_fifteen_seconds() -> None:
    store = Store()
    await lease(store, "a").acquire()
    began = asyncio.get_running_loop().time()

    await lease(store, "b").acquire()

    assert asyncio.get_running_loop().time() - began <= 15
    assert holder(store) == "b"
    assert store.lease["leaseTransitions"] == 2


@in_virtual_time
async def test_a_released_lease_is_taken_at_once() -> None:
    store = Store()
    first = lease(store, "a")
    await first.acquire()
    await first.release()
    began = asyncio.get_running_loop().time()

    await lease(store, "b").acquire()

    assert asyncio.get_running_loop().time() == began


@in_virtual_time
async def test_a_holder_that_is_cut_off_stops_before_another_begins() -> None:
    store = Store()
    first, second = lease(store, "a"), lease(store, "b")
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(3)
    store.down_for = {"a"}

    with pytest.raises(LeaseLostError, match="could not be renewed"):
        await first.hold()

    assert not waiting.done()
    await waiting
    assert holder(store) == "b"


@in_virtual_time
async def test_a_stolen_lease_is_noticed_at_the_next_renewal() -> None:
    store = Store()
    first = lease(store, "a")
    await first.acquire()
    store.lease["holderIdentity"] = "thief"
    store.version += 1

    with pytest.raises(LeaseLostError, match="held by thief"):
        await first.hold()


@in_virtual_time
async def test_release_leaves_anothers_lease_alone() -> None:
    store = Store()
    await lease(store, "a").acquire()

    await lease(store, "b").release()

    assert holder(store) == "a"


@in_virtual_time
async def test_of_two_that_come_at_once_one_wins() -> None:
    store = Store()
    both = [asyncio.create_task(lease(store, who).acquire()) for who in ("a", "b")]

    done, pending = await asyncio.wait(both, timeout=6)

    assert (len(done), len(pending)) == (1, 1)
    pending.pop().cancel()


@in_virtual_time
async def test_it_counts_as_held_only_as_long_as_nobody_else_can_have_it() -> None:
    store = Store()
    first = lease(store, "a")
    assert not first.held

    await first.acquire()
    assert first.held
    await asyncio.sleep(9)
    assert not first.held

    await first.acquire()
    assert first.held
    await first.release()
    assert not first.held


@pytest.mark.slow
async def test_work_that_blocks_its_loop_starves_no_lease() -> None:
    store = Store()
    first = quick(store, "a")
    async with loop_thread() as background, loop_thread() as elsewhere:
        await background.run(first.acquire())
        holding = asyncio.create_task(background.run(first.hold()))
        rival = asyncio.create_task(elsewhere.run(quick(store, "b").acquire()))
        await asyncio.sleep(0.1)
        renewed = store.version

        time.sleep(3.5)
        held = first.held
        await asyncio.sleep(0.1)

        assert held
        assert store.version - renewed >= 10
        assert (holding.done(), rival.done(), holder(store)) == (False, False, "a")
        for task in (holding, rival):
            task.cancel()
        await asyncio.gather(holding, rival, return_exceptions=True)


@pytest.mark.slow
async def test_work_that_blocked_while_the_lease_was_lost_may_change_nothing() -> None:
    store = Store()
    first = quick(store, "a")
    async with loop_thread() as background:
        await background.run(first.acquire())
        holding = asyncio.create_task(background.run(first.hold()))
        await asyncio.sleep(0.1)
        store.down_for = {"a"}

        time.sleep(2)

        assert not holding.done(), "the loop has not turned yet"
        assert not first.held
        with pytest.raises(LeaseLostError, match="could not be renewed"):
            await holding


def test_a_loop_that_stands_still_is_noticed() -> None:
    now = 0.0
    heartbeat = Heartbeat(lambda: now)
    now = 61.0

    assert heartbeat.silent_for() == 61


class Watched:
    """In place of kopf: wakes the work twenty times a second."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self, waker, namespaces, stop: threading.Event) -> None:
        self.times += 1
        while not stop.is_set():
            waker.owned(NAMESPACE, NAME)
            await asyncio.sleep(0.05)


async def until(what: str, done) -> None:
    for _ in range(400):
        if done():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within 8 s: {what}")


@pytest.mark.slow
async def test_a_lost_lease_ends_the_work_and_the_process_waits_for_it_again() -> None:
    store, driver, metrics = Store(), Driver(), Metrics(CollectorRegistry())
    driver.world.edit(replicas=1)
    settings = Settings((NAMESPACE,), "ns", "op", "a", 0, Home())
    stop, workers, watched = asyncio.Event(), [], Watched()

    def changes() -> int:
        driver.world.step()
        return len(driver.crash_points.changes)

    async with loop_thread() as background:
        parts = (driver.kube, driver.database, quick(store, "a"), background, metrics, workers)
        running = asyncio.create_task(Operator(settings, *parts, watched).until(stop))
        await until("work", lambda: changes() > 10)

        store.down_for = {"a"}
        await until("the end of the work", lambda: workers == [])
        before = changes()
        await asyncio.sleep(0.5)
        assert changes() == before
        assert not running.done()

        store.down_for = set()
        await until("work again", lambda: changes() > before and len(workers) == 3)
        stop.set()
        await running

    assert watched.times == 2
    assert holder(store) == ""
