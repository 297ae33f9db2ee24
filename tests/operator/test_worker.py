"""The work queue: one pass at a time for each object, many wakes one pass, failures slower."""

import asyncio
from datetime import timedelta

import pytest
from amaters_operator.app.health import Metrics
from amaters_operator.app.worker import Worker
from amaters_operator.kube.errors import ApiUnreachableError
from amaters_operator.testing.virtual_time import in_virtual_time
from prometheus_client import CollectorRegistry


class Script:
    """A reconcile function that notes when it ran, and does as it is told."""

    def __init__(self, *, takes: float = 0.0, pause: float | None = 10.0) -> None:
        self.takes, self.pause = takes, pause
        self.began: list[float] = []
        self.running = 0
        self.most = 0
        self.fail: Exception | None = None

    async def __call__(self, namespace: str, name: str) -> timedelta | None:
        self.began.append(asyncio.get_running_loop().time())
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(self.takes)
        self.running -= 1
        if self.fail is not None:
            raise self.fail
        return None if self.pause is None else timedelta(seconds=self.pause)


async def work(script: Script, seconds: float, *wakes: float, key=("ns", "a")) -> Worker:
    metrics = Metrics(CollectorRegistry())
    worker = Worker("test", script, metrics)
    running = asyncio.create_task(worker.run())
    begin = asyncio.get_running_loop().time()
    for moment in wakes:
        await asyncio.sleep(begin + moment - asyncio.get_running_loop().time())
        worker.wake(*key)
    await asyncio.sleep(begin + seconds - asyncio.get_running_loop().time())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return worker


@in_virtual_time
async def test_a_pass_follows_a_wake_at_once_and_then_the_pause() -> None:
    script = Script(pause=10)
    await work(script, 25, 0)

    assert [round(one, 1) for one in script.began] == [0.0, 10.0, 20.0]


@in_virtual_time
async def test_many_wakes_during_a_pass_make_one_more() -> None:
    script = Script(takes=5, pause=100)
    await work(script, 30, 0, 1, 2, 3)

    assert len(script.began) == 2
    assert script.most == 1


@in_virtual_time
async def test_a_storm_of_wakes_is_slowed_down() -> None:
    script = Script(pause=100)
    await work(script, 2, *[number / 100 for number in range(200)])

    assert len(script.began) <= 11


@in_virtual_time
async def test_an_object_that_is_gone_is_forgotten() -> None:
    script = Script(pause=None)
    worker = await work(script, 50, 0)

    assert len(script.began) == 1
    assert worker.known("ns") == []


@in_virtual_time
async def test_an_object_that_comes_back_is_looked_after_again() -> None:
    script = Script(pause=None)
    await work(script, 50, 0, 20)

    assert len(script.began) == 2


@in_virtual_time
async def test_failures_are_repeated_with_growing_pauses_and_counted() -> None:
    script = Script()
    script.fail = ApiUnreachableError("api down")
    await work(script, 75, 0)

    gaps = [round(b - a) for a, b in zip(script.began, script.began[1:], strict=False)]
    assert gaps == [1, 2, 4, 8, 16, 20, 20]


@in_virtual_time
async def test_a_defect_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = Script(pause=5), Script()
    bad.fail = RuntimeError("a bug of ours")

    async def reconcile(namespace: str, name: str) -> timedelta | None:
        return await (bad if name == "bad" else good)(namespace, name)

    worker = Worker("test", reconcile, Metrics(CollectorRegistry()))
    running = asyncio.create_task(worker.run())
    worker.wake("ns", "bad")
    worker.wake("ns", "good")
    await asyncio.sleep(12)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert len(good.began) == 3
    assert "reconcile.defect" in caplog.text


class Looks:
    """Says that everything is as it was, until some time."""

    def __init__(self, until: float, *, fails: bool = False) -> None:
        self.until, self.fails, self.at = until, fails, list[float]()

    async def __call__(self, _namespace: str, _name: str) -> bool:
        self.at.append(asyncio.get_running_loop().time())
        if self.at[-1] < self.until:
            return True
        if self.fails:
            raise ApiUnreachableError("the look itself fails")
        return False


@pytest.mark.parametrize("fails", [False, True])
@in_virtual_time
async def test_a_change_that_a_look_finds_ends_a_long_pause(fails: bool) -> None:
    looks, script = Looks(100, fails=fails), Script(pause=600)
    worker = Worker("test", script, Metrics(CollectorRegistry()), looks)
    running = asyncio.create_task(worker.run())
    worker.wake("ns", "a")
    await asyncio.sleep(110)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert len(looks.at) == 7
    assert [round(one) for one in script.began] == [0, 105]


@in_virtual_time
async def test_a_wake_ends_a_long_pause_without_a_look() -> None:
    looks, script = Looks(1e9), Script(pause=600)
    worker = Worker("test", script, Metrics(CollectorRegistry()), looks)
    running = asyncio.create_task(worker.run())
    worker.wake("ns", "a")
    await asyncio.sleep(10)
    worker.wake("ns", "a")
    await asyncio.sleep(1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert [round(one) for one in script.began] == [0, 10]
    assert looks.at == []


@in_virtual_time
async def test_an_overdue_object_is_named() -> None:
    metrics = Metrics(CollectorRegistry())
    worker = Worker("test", Script(), metrics)
    worker.wake("ns", "a")

    assert worker.stalled() == []
    await asyncio.sleep(200)
    assert [key.name for key in worker.stalled()] == ["a"]
