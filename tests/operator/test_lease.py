"""The Lease, on a clock of its own: at most one holder, and a quick takeover."""

import asyncio

import pytest
from amaters_operator.kube import kinds
from amaters_operator.kube.errors import ConflictError, UnreachableError
from amaters_operator.kube.lease import Lease, LeaseLostError
from amaters_operator.testing.virtual_time import in_virtual_time


class Store:
    """One Lease, with the API server's optimistic lock."""

    def __init__(self) -> None:
        self.lease: dict | None = None
        self.version = 0
        self.down_for: set[str] = set()

    def seen_by(self, who: str) -> "View":
        return View(self, who)


class View:
    def __init__(self, store: Store, who: str) -> None:
        self.store, self.who = store, who

    def _answer(self) -> None:
        if self.who in self.store.down_for:
            raise UnreachableError("down")

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
