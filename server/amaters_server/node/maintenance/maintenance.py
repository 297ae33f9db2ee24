"""Verification and compaction of one node: one of each at a time, in threads of their own."""

import asyncio
import contextlib
import logging
import shutil
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from amaters_server.model.errors import ShuttingDownError, StorageCorruptedError, StorageError
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.maintenance.compaction import Compaction, compact
from amaters_server.node.maintenance.jobs import OneAtATime
from amaters_server.node.maintenance.verification import (
    BYTES_PER_SECOND,
    Pace,
    Verification,
    verify,
)
from amaters_server.node.parts import Parts
from amaters_server.node.snapshot_transfer.sender import OUTGOING

log = logging.getLogger(__name__)

FOLDER = f"{OUTGOING}-verified"
"""In the folder of snapshots in transfer, where a start deletes what has such a name."""
CHECKPOINT_SECONDS = 60.0
LOOK_SECONDS = 0.02
EVERYTHING = "of everything"

T = TypeVar("T")


class Maintenance:
    """All methods belong to the event loop; none blocks it."""

    def __init__(
        self,
        parts: Parts,
        running: Callable[[], ReplicaLoop],
        *,
        bytes_per_second: int = BYTES_PER_SECOND,
    ) -> None:
        """Take a `running` that returns the loop of a member; NotReadyError before it is one."""
        self._parts = parts
        self._running = running
        self._rate = bytes_per_second
        self._stop = threading.Event()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="amaters-maintenance")
        self._verifications: OneAtATime[Verification] = OneAtATime("VERIFY", parts.clock.now)
        self._compactions: OneAtATime[Compaction] = OneAtATime("COMPACT", parts.clock.now)
        self._verification: Verification | None = None

    @property
    def verification(self) -> Verification | None:
        """The one that runs or, when none does, the last since the start."""
        return self._verification

    @property
    def verifying(self) -> bool:
        """Whether one runs."""
        job = self._verifications.job
        return job is not None and not job.task.done()

    async def verify(self, seconds: float) -> Verification:
        """Join the verification that runs, or begin one, and wait for its end so long.

        The result says whether it is complete. StorageError when the disk fails meanwhile.
        """
        self._running()
        job = self._verifications.join(EVERYTHING, self._begin)
        found = self._verification
        return await self._verifications.outcome(job, seconds) or found or Verification(0)

    async def compact(self, collection: str | None, seconds: float) -> Compaction | None:
        """Join the compaction that runs, or begin one; None when it goes on after so long."""
        self._running()
        job = self._compactions.join(_of(collection), partial(self._compact, collection))
        return await self._compactions.outcome(job, seconds)

    async def verify_reports(
        self, every_seconds: float
    ) -> AsyncGenerator[tuple[Verification, bool], None]:
        """Join a verification or begin one, and yield how far it is, and whether it has ended."""
        self._running()
        job, found = self._verifications.join(EVERYTHING, self._begin), self._verification
        found = Verification(0) if found is None else found
        while await self._verifications.outcome(job, every_seconds) is None:
            yield found, False
        yield found, True

    async def compact_reports(
        self, collection: str | None, every_seconds: float
    ) -> AsyncGenerator[Compaction | None, None]:
        """Join a compaction or begin one, and yield its result; None, as long as it goes on."""
        self._running()
        job = self._compactions.join(_of(collection), partial(self._compact, collection))
        while (made := await self._compactions.outcome(job, every_seconds)) is None:
            yield None
        yield made

    async def close(self) -> None:
        """End what runs; returns when no thread uses the engine."""
        self._stop.set()
        await self._verifications.close()
        await self._compactions.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> Coroutine[None, None, Verification]:
        self._verification = found = Verification(self._parts.clock.unix_ms())
        return self._verify(found)

    async def _verify(self, found: Verification) -> Verification:
        parts = self._parts
        folder = parts.settings.transfer_folder / FOLDER
        log.info("verification.started")
        try:
            await self._away(partial(_clear, folder))
            await self._checkpoint(folder)
            pace = Pace(self._stop, bytes_per_second=self._rate)
            await self._away(partial(verify, parts.engine, folder, found, pace))
        except StorageCorruptedError as error:
            # The engine itself came upon damage, and makes no checkpoint since.
            found.checksum_errors += 1
            found.describe(str(error))
        finally:
            await self._away(partial(_clear, folder))
        _report(found)
        return found

    async def _checkpoint(self, folder: Path) -> None:
        """Take one in the storage thread, in order with the writes."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def ended(error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        storage = self._running().storage
        await self._written()
        storage.run(partial(self._parts.engine.checkpoint, folder), ended)
        try:
            async with asyncio.timeout(CHECKPOINT_SECONDS):
                await done
        except TimeoutError:
            raise StorageError(
                f"no checkpoint was made within {CHECKPOINT_SECONDS:.0f} s: see the log for the "
                "state of the disk"
            ) from None

    async def _written(self) -> None:
        """Return once the engine holds what is applied now, which the next tick hands to it."""
        machine = self._parts.machine
        wanted = machine.version
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CHECKPOINT_SECONDS):
                while machine.written_version < wanted:  # noqa: ASYNC110 - nothing signals it
                    await asyncio.sleep(LOOK_SECONDS)

    async def _compact(self, collection: str | None) -> Compaction:
        facts = {"collection": "all" if collection is None else collection}
        log.info("compaction.started", extra=facts)
        engine, now = self._parts.engine, self._parts.clock.unix_ms()
        made = await self._away(partial(compact, engine, collection, now))
        facts |= {"seconds": f"{made.seconds:.1f}", "bytes_reclaimed": f"{made.bytes_reclaimed}"}
        log.info("compaction.finished", extra=facts)
        return made

    async def _away(self, work: Callable[[], T]) -> T:
        """Do it in a thread of our own; waits for its end, even when cancelled."""
        try:
            working = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except RuntimeError as error:
            raise ShuttingDownError from error
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait([working])
            raise


def _of(collection: str | None) -> str:
    return EVERYTHING if collection is None else f"of collection {collection[:80]!r}"


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _report(found: Verification) -> None:
    facts = {"keys": found.keys, "tables": found.tables, "seconds": round(found.seconds, 1)}
    if found.ok:
        log.info("verification.finished", extra=facts)
    elif found.complete or found.damage:
        advice = "replace this member; for a lone node restore a backup"
        more = {"faults": found.damage, "first": found.errors[0], "advice": advice}
        log.error("verification.found_damage", extra=facts | more)
    else:
        log.warning("verification.stopped", extra=facts | {"reason": found.stopped})
