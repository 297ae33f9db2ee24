"""kopf's real watches on an API server over HTTP: what they ask for, and the storms they survive."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from amaters_operator.app import watch_health
from amaters_operator.app.waker import Waker
from amaters_operator.app.watch import WATCHED, Watching, watch
from amaters_operator.app.watch_health import WatchEndedError, WatchHealth
from amaters_operator.kube import kinds
from amaters_operator.kube.rights import Right
from amaters_operator.testing import Driver
from amaters_operator.testing.api_server import ApiServer, Storm

pytestmark = [
    pytest.mark.slow,
    # kopf closes its connections after the test's loop has ended.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PASSES_WITHIN = 30.0
"""Seconds after a storm."""


class Woken:
    """In place of a worker."""

    def __init__(self) -> None:
        self.names: list[tuple[str, str]] = []

    def wake(self, namespace: str, name: str) -> None:
        self.names.append((namespace, name))

    def known(self, namespace: str) -> list[str]:
        return sorted({name for where, name in self.names if where == namespace})


class Watched:
    """A world with a cluster, its API server, and kopf on it."""

    def __init__(self, server: ApiServer, driver: Driver) -> None:
        self.server, self.driver = server, driver
        self.clusters, self.backups = Woken(), Woken()
        self.health = WatchHealth(time.monotonic)
        self.counted: list[tuple[Right, str]] = []
        self.running: asyncio.Task[None] | None = None

    def opened(self) -> int:
        return sum(right.verb == "watch" for right, _ in self.counted)

    async def until(self, what: str, done: Callable[[], bool], *, within: float = 10) -> float:
        began = time.monotonic()
        while not done():
            assert time.monotonic() - began < within, f"not within {within} s: {what}"
            assert self.running is None or not self.running.done(), self.running
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def wakes_again(self, *, within: float = PASSES_WITHIN) -> float:
        """Wait until a change of the spec is noticed."""
        before = len(self.backups.names)
        began = time.monotonic()
        self.driver.world.annotate(token=str(time.monotonic()))
        self.server.publish()
        await self.until("a wake", lambda: len(self.backups.names) > before, within=within)
        return time.monotonic() - began


@asynccontextmanager
async def watched(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    namespaces: tuple[str, ...] = ("shop",),
    streams_lists: bool = False,
    storm: Storm = lambda _: None,
    bookmark_seconds: float = 60,
) -> AsyncIterator[Watched]:
    driver = Driver()
    driver.world.edit(replicas=3, networkPolicy={"enabled": True})
    await asyncio.to_thread(driver.settled)
    server = ApiServer({"shop": driver.kube}, storm=storm, bookmark_seconds=bookmark_seconds)
    async with server.serving() as address:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(json.dumps(pointing_at(address)))
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        one = Watched(server, driver)
        waker = Waker(asyncio.get_running_loop(), one.clusters, one.backups, Woken())
        stop = threading.Event()
        how = Watching(one.health, lambda *facts: one.counted.append(facts), streams_lists)
        one.running = asyncio.create_task(watch(waker, namespaces, stop, how))
        try:
            yield one
        finally:
            stop.set()
            one.running.cancel()
            await asyncio.gather(one.running, return_exceptions=True)
            await asyncio.sleep(0.6)


def pointing_at(address: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": address}}],
        "users": [{"name": "test", "user": {"token": "t"}}],
    }


@pytest.mark.parametrize("namespaces", [("shop",), ()])
@pytest.mark.parametrize("streams_lists", [False, True])
async def test_what_exists_and_what_changes_wakes_the_worker(
    tmp_path, monkeypatch, namespaces, streams_lists
) -> None:
    way = {"namespaces": namespaces, "streams_lists": streams_lists}
    async with watched(tmp_path, monkeypatch, **way) as one:
        await one.until("the cluster is known", lambda: ("shop", "orders") in one.backups.names)
        await one.until("its pods are known", lambda: len(one.clusters.names) > 8)

        assert await one.wakes_again(within=3) < 3
        verbs = {right.verb for right, _ in one.counted if right.resource == "pods"}
        assert verbs == ({"watch"} if streams_lists else {"list", "watch"})
        assert set(one.health.ages()) == {
            right.qualified for right, _ in one.counted if right.verb == "watch"
        }
        assert len(one.health.ages()) == len(WATCHED)


@pytest.mark.parametrize(
    "kind", [one for one in WATCHED if one not in (kinds.CLUSTER, kinds.ACCESS)]
)
async def test_a_change_of_each_watched_kind_wakes_the_worker(tmp_path, monkeypatch, kind) -> None:
    async with watched(tmp_path, monkeypatch) as one:
        await one.until("the start", lambda: len(one.clusters.names) > 8)
        await asyncio.sleep(0.3)
        before = len(one.clusters.names)
        store = one.driver.world.store
        name = next(name for known, _, name in store.entries if known == kind)
        store.delete(kind, "shop", name)
        one.server.publish()

        await one.until("a wake", lambda: len(one.clusters.names) > before, within=3)


async def test_only_ours_is_received_and_only_its_metadata(tmp_path, monkeypatch) -> None:
    asked: list[tuple[str, str, str]] = []
    received: list[tuple[str, str, str]] = []
    original = ApiServer._answer

    async def noted(self, request: web.Request, right: Right):
        if right.resource != "(discovery)":
            accept = request.headers.get("Accept", "")
            asked.append((right.resource, request.query.get("labelSelector", ""), accept))
            received.append((right.resource, right.verb, accept))
        return await original(self, request, right)

    monkeypatch.setattr(ApiServer, "_answer", noted)
    async with watched(tmp_path, monkeypatch) as one:
        await one.until("all watches", lambda: len(asked) == 2 * len(WATCHED), within=30)

    assert {(name, selector) for name, selector, _ in asked} == {
        (kind.plural, selector) for kind, selector in WATCHED.items()
    }
    watches = [(name, accept) for name, verb, accept in received if verb == "watch"]
    whole = {name for name, accept in watches if "PartialObjectMetadata" not in accept}
    assert whole == {"amatersclusters", "amatersaccesses"}
    assert "secrets" not in {name for name, _, _ in asked}


async def test_nothing_is_written_by_watching(tmp_path, monkeypatch) -> None:
    async with watched(tmp_path, monkeypatch) as one:
        await one.until("the start", lambda: len(one.clusters.names) > 8)
        await one.wakes_again()

        assert {right.verb for right, _ in one.counted} <= {"get", "list", "watch"}
        bodies = [entry.whole() for entry in one.driver.world.store.entries.values()]
        assert [one for one in bodies if one["metadata"].get("finalizers")] == []


def refusing(code: int, until: Callable[[], bool], **headers: str) -> Storm:
    def storm(right: Right) -> web.Response | None:
        if until() or (code == 410 and right.verb != "watch"):
            return None
        body = {"kind": "Status", "code": code, "message": "by order of a test"}
        return web.json_response(body, status=code, headers=headers)

    return storm


@pytest.mark.parametrize(
    ("code", "headers"),
    [(403, {}), (429, {"Retry-After": "2"}), (429, {}), (500, {}), (410, {})],
    ids=["403", "429 with a time", "429", "500", "410"],
)
async def test_a_storm_of_refusals_passes(tmp_path, monkeypatch, code, headers) -> None:
    async with watched(tmp_path, monkeypatch) as one:
        await one.until("the start", lambda: len(one.clusters.names) > 8)
        over = time.monotonic() + 6
        one.server.storm = refusing(code, lambda: time.monotonic() > over, **headers)
        one.server.history.cut += 1  # the watches have to connect again, into the storm
        await asyncio.sleep(6)

        took = await one.wakes_again()
        print(f"noticed {took:.1f} s after a storm of {code}")


async def test_a_storm_at_the_start_passes(tmp_path, monkeypatch) -> None:
    over = time.monotonic() + 5
    storm = refusing(403, lambda: time.monotonic() > over)
    async with watched(tmp_path, monkeypatch, storm=storm) as one:
        await one.until("the cluster", lambda: bool(one.backups.names), within=5 + PASSES_WITHIN)


async def test_watches_from_before_a_compaction_list_again(tmp_path, monkeypatch) -> None:
    async with watched(tmp_path, monkeypatch) as one:
        await one.until("the start", lambda: len(one.clusters.names) > 8)
        for _ in range(20):
            one.driver.world.annotate(token=str(time.monotonic()))
            one.server.publish()
            one.server.history.compact()
            await asyncio.sleep(0.1)

        assert await one.wakes_again() < PASSES_WITHIN


async def test_a_silent_watch_is_connected_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("amaters_operator.app.watch._INACTIVITY_SECONDS", 1.0)
    async with watched(tmp_path, monkeypatch) as one:
        await one.until("the start", lambda: len(one.clusters.names) > 8)
        one.server.history.silent = True
        opened = len(one.counted)
        await one.until("new connections", lambda: len(one.counted) > opened + len(WATCHED))
        one.server.history.silent = False

        assert await one.wakes_again() < 5


async def test_bookmarks_are_signs_of_life(tmp_path, monkeypatch) -> None:
    async with watched(tmp_path, monkeypatch, bookmark_seconds=0.2) as one:
        await one.until("all watches", lambda: one.opened() == len(WATCHED))
        opened = len(one.counted)
        await asyncio.sleep(3)

        assert max(one.health.ages().values()) < 1.5
        assert len(one.counted) == opened


async def test_a_watch_that_stays_dead_ends_the_process(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(watch_health, "STALLED_SECONDS", 3.0)
    monkeypatch.setattr(watch_health, "_LOOK_SECONDS", 0.2)

    def storm(right: Right) -> web.Response | None:
        return web.Response(status=403) if right.resource == "pods" else None

    async with watched(tmp_path, monkeypatch, storm=storm, bookmark_seconds=0.2) as one:
        with pytest.raises(WatchEndedError, match=r"watch of pods \(\d s\).*grants list and watch"):
            await asyncio.wait_for(asyncio.shield(one.running), 20)
