"""The one thread that writes to the engine, so that the event loop never waits for a disk.

Everything handed over while a write is under way joins the next one: one fsync for all of it. With
a window, entries are acknowledged before their fsync, which follows within it; terms and votes never
wait: a member that forgets one could elect two leaders of one term. A full disk is retried until there is room; any other failure is final, because the content
of a disk that has failed once is unknown.
"""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from amaters_server.model.errors import StorageError, StorageFullError
from amaters_server.node.loop.disk_room import RoomGuard
from amaters_server.raft.outbox import Batch
from amaters_server.storage.engine import Changes, Engine

log = logging.getLogger(__name__)

FULL_DISK_RETRY_SECONDS = 1.0
IDLE_SECONDS = 0.5
"""Between two measurements of the disk's room while nothing is written, or it is low."""
MEASURE_SECONDS = 0.02
"""Between two measurements while much is written: a fast disk takes some MiB meanwhile."""


@dataclass(frozen=True, slots=True)
class Written:
    """One write is done: everything up to the token is as durable as it asked to be."""

    token: int
    synced: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class StorageReports:
    """What the thread reports; each is called on the event loop through `post`."""

    post: Callable[[Callable[[], None]], None]
    """Runs a callback on the event loop, from any thread."""
    written: Callable[[Written], None]
    full: Callable[[StorageFullError | None], None]
    """The disk is full; None when it is no longer."""
    low: Callable[[StorageFullError | None], None]
    """The disk has less room than has to stay free; None when it has enough again."""
    failed: Callable[[StorageError], None]


@dataclass(slots=True)
class _Job:
    """Other work that must not overlap a write; it runs in order with the writes."""

    run: Callable[[], None]
    done: Callable[[BaseException | None], None]


@dataclass(slots=True)
class _Merged:
    changes: Changes = field(default_factory=Changes)
    token: int = 0
    sync: bool = False
    vote: bool = False


class StorageThread:
    """Writes batches in order; stops at the first failure other than a full disk."""

    def __init__(
        self, engine: Engine, reports: StorageReports, *, sync_seconds: float, guard: RoomGuard
    ) -> None:
        self._guard = guard
        self._measured_at = 0.0
        self._engine = engine
        self._reports = reports
        self._window = sync_seconds
        self._sync_due = math.inf
        """When the oldest write that is not synced yet has to be; infinite: there is none."""
        self._queue: queue.SimpleQueue[Batch | _Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="amaters-storage", daemon=True)
        self._stopping = threading.Event()
        self._busy_since = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Have the batch written after all that was submitted before."""
        self._queue.put(batch)

    def run(self, job: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        """Run a blocking job in order with the writes; `done` is called on the event loop."""
        self._queue.put(_Job(job, done))

    def stuck_for(self) -> float:
        """Return for how many seconds the present write has been going on, 0.0 when idle."""
        since = self._busy_since
        return time.monotonic() - since if since else 0.0

    def stop(self) -> None:
        """Write what was submitted, then end the thread; blocks until it has."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._measure()
            batches, job, more = self._take()
            try:
                if batches or time.monotonic() >= self._sync_due:
                    self._write(batches)
            except StorageError as error:
                self._reports.post(partial(self._reports.failed, error))
                return
            if job is not None:
                self._carry_out(job)
            if not more:
                return

    def _take(self) -> tuple[list[Batch], _Job | None, bool]:
        """Wait for something, then take all there is up to a job or the end."""
        batches: list[Batch] = []
        try:
            until_due = max(self._sync_due - time.monotonic(), 0)
            item = self._queue.get(timeout=min(IDLE_SECONDS, until_due))
        except queue.Empty:
            return batches, None, True
        while True:
            if item is None:
                return batches, None, False
            if isinstance(item, _Job):
                return batches, item, True
            batches.append(item)
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batches, None, True

    def _measure(self) -> None:
        """Measure the disk's room at intervals; one that cannot be measured is not low."""
        now = time.monotonic()
        # Room comes and goes with every merge of files: what is low stays so for a while.
        pause = MEASURE_SECONDS if self._guard.low is None else IDLE_SECONDS
        if now - self._measured_at < pause:
            return
        self._measured_at = now
        try:
            room = self._engine.room()
        except OSError:
            return
        if self._guard.changed(room):
            self._reports.post(partial(self._reports.low, self._guard.low))

    def _write(self, batches: Sequence[Batch]) -> None:
        gathered = _merged(batches)
        self._busy_since = began = time.monotonic()
        due = min(self._sync_due, began + self._window) if gathered.sync else self._sync_due
        sync = gathered.vote or began >= due
        try:
            self._write_when_there_is_room(gathered.changes, sync=sync)
        finally:
            self._busy_since = 0.0
        self._sync_due = math.inf if sync else due
        written = Written(gathered.token, sync, time.monotonic() - began)
        self._reports.post(partial(self._reports.written, written))

    def _write_when_there_is_room(self, changes: Changes, *, sync: bool) -> None:
        was_full = False
        while True:
            try:
                self._engine.write(changes, sync=sync)
            except StorageFullError as error:
                if not was_full:
                    self._reports.post(partial(self._reports.full, error))
                was_full = True
                if self._stopping.wait(FULL_DISK_RETRY_SECONDS):
                    raise
            else:
                break
        if was_full:
            self._reports.post(partial(self._reports.full, None))

    def _carry_out(self, job: _Job) -> None:
        failure: BaseException | None = None
        self._busy_since = 0.0
        try:
            job.run()
        except Exception as error:  # noqa: BLE001 The caller decides what it means.
            failure = error
        self._reports.post(partial(job.done, failure))


def _merged(batches: Sequence[Batch]) -> _Merged:
    if len(batches) == 1:
        only = batches[0]
        return _Merged(only.changes, only.token, only.sync, only.vote)
    gathered = _Merged()
    for batch in batches:
        gathered.changes.extend(batch.changes)
        gathered.sync |= batch.sync
        gathered.vote |= batch.vote
        gathered.token = batch.token
    return gathered
