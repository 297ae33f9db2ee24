"""A shutdown enters its phases in order, ends every hook at its deadline, and misses no way out."""

import asyncio
import logging

import pytest
from amaters_server.lifecycle import (
    CallHook,
    ConnectionDrainHook,
    DrainConfig,
    MemtableFlushHook,
    MetricsSnapshot,
    MetricsSnapshotHook,
    ShutdownCoordinator,
    ShutdownGuard,
    ShutdownPhase,
    WalFlushHook,
)

DRAINING, FLUSHING = ShutdownPhase.DRAINING, ShutdownPhase.FLUSHING_STATE


@pytest.fixture
def left() -> list[str]:
    return []


@pytest.fixture
def stop(left) -> ShutdownCoordinator:
    config = DrainConfig(drain_timeout=5, check_interval=0.01, flush_timeout=5)
    return ShutdownCoordinator(config, leave=lambda: left.append("left"))


def hook(done: list, name: str, phase=FLUSHING, **more) -> CallHook:
    return CallHook(name, lambda: done.append(name), phase, **more)


def test_the_defaults_are_the_published_ones():
    assert DrainConfig() == DrainConfig(drain_timeout=30, check_interval=1, flush_timeout=30)
    assert [one.value for one in ShutdownPhase] == [
        "running",
        "draining",
        "flushing_state",
        "terminated",
    ]


async def test_phases_follow_each_other_and_what_started_first_stops_last(stop):
    done: list[object] = []
    stop.on_phase(done.append)
    for name, phase in (("disk", FLUSHING), ("port", FLUSHING), ("calls", DRAINING)):
        stop.register_shutdown_hook(hook(done, name, phase))
    assert stop.phase is ShutdownPhase.RUNNING

    await stop.shutdown()

    assert done == [DRAINING, "calls", FLUSHING, "port", "disk", ShutdownPhase.TERMINATED]
    assert stop.phase is ShutdownPhase.TERMINATED


async def test_the_published_hooks_do_what_their_names_say(stop, caplog):
    done: list[str] = []
    figures = MetricsSnapshot(10.0, 200, 50, 0.1, 7, 8)

    async def note(name):
        done.append(name)

    stop.register_shutdown_hook(MetricsSnapshotHook(lambda: figures))
    stop.register_shutdown_hook(MemtableFlushHook(lambda: note("memtable")))
    stop.register_shutdown_hook(WalFlushHook(lambda: note("wal")))
    drain = ConnectionDrainHook(lambda: asyncio.sleep(0.1), lambda: 3, stop.config)
    stop.register_shutdown_hook(drain)
    with caplog.at_level(logging.INFO):
        report = await stop.shutdown()

    assert done == ["wal", "memtable"]
    assert not report.failures
    said = {one.message: one for one in caplog.records}
    assert said["server.draining"].calls == 3
    assert said["server.metrics_snapshot"].success_rate == 0.75
    assert figures.avg_query_time_us() == 500
    assert "75.00% of them successful" in figures.format_human()


def test_a_snapshot_without_requests_divides_by_nothing():
    nothing = MetricsSnapshot(0.0, 0, 0, 0.0, 0, 0)

    assert (nothing.success_rate(), nothing.avg_query_time_us()) == (0.0, 0.0)


async def test_a_hook_that_fails_keeps_no_other_from_running(stop, caplog):
    done: list[str] = []
    stop.register_shutdown_hook(hook(done, "last"))
    stop.register_shutdown_hook(CallHook("broken", lambda: 1 / 0))
    stop.register_shutdown_hook(hook(done, "first"))

    with pytest.raises(ZeroDivisionError):
        async with ShutdownGuard(stop):
            pass

    assert done == ["first", "last"]
    assert "server.hook_failed" in caplog.text


async def test_a_hook_that_does_not_end_is_left_at_its_deadline(stop, caplog):
    done: list[str] = []
    stop.register_shutdown_hook(hook(done, "last"))
    hangs = CallHook("hangs", lambda: asyncio.get_running_loop().create_future(), timeout=0.01)
    stop.register_shutdown_hook(hangs)

    report = await stop.shutdown()

    assert report.overran == ["hangs"]
    assert stop.overran
    assert done == ["last"]
    assert "server.hook_overran" in caplog.text


async def test_a_hook_that_refuses_its_cancellation_is_left_too(stop, monkeypatch):
    monkeypatch.setattr("amaters_server.lifecycle.coordinator.CANCEL_SECONDS", 0.01)
    free = asyncio.Event()

    async def stubborn():
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    stop.register_shutdown_hook(CallHook("stubborn", stubborn, timeout=0.01))

    assert (await stop.shutdown()).overran == ["stubborn"]
    free.set()


async def test_calls_that_do_not_end_are_aborted_without_a_word_of_work_undone(stop):
    config = DrainConfig(drain_timeout=0.02, check_interval=0.01)
    ended: list[str] = []

    async def drain():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("drain")

    stop.register_shutdown_hook(ConnectionDrainHook(drain, lambda: 1, config))

    report = await stop.shutdown()

    assert ended == ["drain"]
    assert not report.overran


async def test_a_second_request_cuts_the_waiting_short_and_still_flushes(stop, left):
    done: list[str] = []
    drain = ConnectionDrainHook(
        lambda: asyncio.get_running_loop().create_future(), lambda: 1, stop.config
    )
    stop.register_shutdown_hook(hook(done, "flush"))
    stop.register_shutdown_hook(drain)
    stop.request()
    assert stop.requested
    assert stop.grace(3.0) == 3.0
    running = asyncio.ensure_future(stop.shutdown())
    await asyncio.sleep(0)
    assert not running.done()

    stop.request()

    assert not (await running).overran
    assert done == ["flush"]
    assert stop.grace(3.0) == 0.0
    assert not left
    stop.request()
    assert left == ["left"]


@pytest.mark.parametrize("error", [None, ValueError, asyncio.CancelledError, SystemExit])
async def test_the_guard_runs_on_every_way_out(stop, error):
    done: list[str] = []

    async def body():
        async with ShutdownGuard(stop):
            stop.register_shutdown_hook(hook(done, "flush"))
            if error is not None:
                raise error

    if error is None:
        await body()
    else:
        with pytest.raises(error):
            await body()

    assert done == ["flush"]
    assert stop.phase is ShutdownPhase.TERMINATED


async def test_a_task_that_is_cancelled_while_it_shuts_down_finishes_first(stop):
    done: list[str] = []
    may_end = asyncio.Event()

    async def slow():
        await may_end.wait()
        done.append("slow")

    stop.register_shutdown_hook(hook(done, "last"))
    stop.register_shutdown_hook(CallHook("slow", slow))

    async def body():
        async with ShutdownGuard(stop):
            pass

    task = asyncio.create_task(body())
    for _ in range(2):
        await asyncio.sleep(0.01)
        task.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert done == ["slow", "last"]


async def test_the_error_of_the_block_goes_before_that_of_a_hook(stop):
    async def body():
        async with ShutdownGuard(stop):
            stop.register_shutdown_hook(CallHook("broken", lambda: 1 / 0))
            raise KeyError

    with pytest.raises(KeyError):
        await body()


async def test_a_disarmed_guard_does_nothing(stop):
    async with ShutdownGuard(stop) as guard:
        guard.disarm()

    assert stop.phase is ShutdownPhase.RUNNING
    assert not stop.requested


async def test_all_who_shut_down_wait_for_the_one_shutdown(stop):
    done: list[str] = []
    stop.register_shutdown_hook(hook(done, "once"))

    first, second = await asyncio.gather(stop.shutdown(), stop.shutdown())

    assert first is second
    assert done == ["once"]


async def test_a_hook_may_be_registered_until_its_phase_is_over(stop):
    done: list[str] = []
    late = hook(done, "late")
    stop.register_shutdown_hook(
        CallHook("first", lambda: stop.register_shutdown_hook(late), DRAINING)
    )
    await stop.shutdown()
    assert done == ["late"]

    for phase, why in ((DRAINING, "too late"), (ShutdownPhase.TERMINATED, "nothing runs")):
        with pytest.raises(ValueError, match=why):
            stop.register_shutdown_hook(hook(done, "never", phase))
