"""The engine on disk.

Two properties of the binding shape this file. Only a flush of the write-ahead log lets other
threads run meanwhile, so a synced write is an unsynced one followed by that flush: the event
loop never waits for an fsync. And a database stays open until the last of its column
families, snapshots and iterators is gone, so views keep account of what they hand out.
"""

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rocksdict import (
    Checkpoint,
    ColumnFamily,
    Options,
    Rdict,
)

from amaters_server.model.errors import StorageCorruptedError, StorageError, StorageFullError
from amaters_server.storage import durable_mark, room, swap
from amaters_server.storage.durable_mark import SyncedSoFar
from amaters_server.storage.engine import (
    Amend,
    Changes,
    CompactionTuning,
    EngineStatistics,
    Space,
)
from amaters_server.storage.rocks import statistics
from amaters_server.storage.rocks.batches import batch_of, never_waiting
from amaters_server.storage.rocks.compaction import AskedCompactions
from amaters_server.storage.rocks.errors import closed, is_locked, is_stalled, translate
from amaters_server.storage.rocks.inspection import RocksInspection
from amaters_server.storage.rocks.log_folder import LogFolder
from amaters_server.storage.rocks.options import database_options, family_options, limit_threads
from amaters_server.storage.rocks.tuning import RocksTuning
from amaters_server.storage.rocks.view import Cursor, Frozen, RocksView

_STALL_PAUSE_SECONDS = 0.002
_MOST_WAITS_FOR_READERS = 1000


class RocksEngine:
    """Ordered keyspaces in one RocksDB, each a column family."""

    def __init__(
        self,
        folder: Path,
        tuning: RocksTuning | None = None,
        *,
        log_folder: Path | None = None,
        pause: Callable[[float], None] = time.sleep,
        compacts: bool = True,
        accept_loss: bool = False,
    ) -> None:
        """Open or create the database; raises StorageError when it is damaged or in use.

        Without `compacts` its tables stay as they are, and its log where it is: for one that is
        closed again at once. Without `log_folder` the log is in the folder of the database.
        StorageLostError when it holds less than was synced, unless `accept_loss`.
        """
        self._folder = folder
        self._compacts = compacts
        self._every_log = not accept_loss
        self._tuning = tuning or RocksTuning()
        self._pause = pause
        self._views: weakref.WeakSet[RocksView] = weakref.WeakSet()
        self._compactions = AskedCompactions()
        self._write_options = never_waiting()
        self._failure: StorageError | None = None
        self._state_lock = threading.Lock()
        self._closed = False
        self._database: Rdict | None = None
        self._columns: dict[Space, Rdict] = {}
        self._handles: dict[Space, ColumnFamily] = {}
        with self._translated("finishing what a crash interrupted"):
            self._log = LogFolder(folder, log_folder)
            self._commit()
            self._synced = SyncedSoFar(folder) if compacts else None
        if compacts:
            self._prepare(accept_loss=accept_loss)
        self._open()
        self._check(accept_loss=accept_loss)
        if compacts:
            self._log.remove_leftovers()

    def get(self, space: Space, key: bytes) -> bytes | None:
        """Return the newest value under the key, or None."""
        column = self._columns.get(space) or self._reopened(space)
        try:
            value: bytes | None = column.get(key)
        except Exception as error:
            raise translate(error, "reading", self._folder) from error
        return value

    def get_many(self, space: Space, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the newest values under the keys, in the order of the keys."""
        column = self._columns.get(space) or self._reopened(space)
        try:
            values: list[bytes | None] = list(column.get(list(keys)) or ())
        except Exception as error:
            raise translate(error, "reading", self._folder) from error
        return values

    def view(self) -> RocksView:
        """Freeze the present state for reading; cheap, whatever the size."""
        database = self._opened()
        with self._translated("taking a snapshot"):
            # Everything is of the same moment: made again if a write came in between.
            while True:
                before = database.latest_sequence_number()
                spaces = {
                    space: Frozen(column.snapshot(), Cursor(column.iter()))
                    for space, column in self._columns.items()
                }
                if database.latest_sequence_number() == before:
                    break
        view = RocksView(spaces, self._folder)
        with self._state_lock:  # the thread that closes walks the views meanwhile
            self._views.add(view)
        return view

    def write(self, changes: Changes, *, sync: bool) -> None:
        """Make all the changes visible at once; with `sync`, durable before returning.

        After a failed write it is unknown what reached the disk, and only opening it again finds
        out. When the disk was full that happens here, with the next write that there is room
        for; every other failure lasts until the node restarts.
        """
        if self._failure is not None:
            self._recover(self._failure, changes)
        database = self._opened()
        try:
            self._write_when_possible(database, changes)
            if sync:
                written = database.latest_sequence_number()
                database.flush_wal(sync=True)
                if self._synced is not None:
                    self._synced.reached(written)
        except Exception as error:
            self._failure = translate(error, "writing", self._folder)
            raise self._failure from error

    def checkpoint(self, folder: Path) -> None:
        """Write a consistent copy of everything into a folder that does not exist yet."""
        if folder.exists():
            raise StorageError(f"{folder} exists already: choose a new folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        database = self._opened()
        with self._translated(f"writing a checkpoint to {folder}"):
            # A checkpoint flushes what is in memory, and no other thread runs meanwhile: so most
            # of it is flushed before, in the background.
            for column in self._columns.values():
                column.flush(wait=False)
            while self._sum("rocksdb.num-immutable-mem-table"):
                self._pause(_STALL_PAUSE_SECONDS)
            Checkpoint(database).create_checkpoint(str(folder))

    def opened(self, folder: Path) -> "RocksEngine":
        """Open a checkpoint as an engine of its own; StorageError when there is none."""
        if not (folder / "CURRENT").exists():
            raise StorageCorruptedError(f"{folder} is no checkpoint of this engine")
        return RocksEngine(folder, self._tuning, pause=self._pause, compacts=False)

    def inspected(self, folder: Path) -> RocksInspection:
        """Open a checkpoint to read all of it past the caches; DamagedError when it cannot be."""
        return RocksInspection(folder, self._tuning)

    def replace(self, folder: Path, amend: Amend) -> None:
        """Take over a checkpoint of another engine of this kind as the whole content."""
        self._opened()
        other = self.opened(folder)
        try:
            # No mark of an earlier content says anything about this one.
            durable_mark.renew(other._opened())  # noqa: SLF001 - another of this class
            other.write(amend(other), sync=True)
            other.flush()  # Its log is in its own folder, where the log of this one may not be.
        finally:
            other.close()
        with self._state_lock:
            if self._synced is not None:
                self._synced.forget_manifest()
            swap.stage(self._folder, folder)
            self._let_go()
            with self._translated("replacing the database"):
                self._wait_for_readers()
                self._commit()
            self._open()
            self._check()

    def _wait_for_readers(self) -> None:
        """Wait until no reader has the database open; a reader may be in the middle of a row."""
        for _ in range(_MOST_WAITS_FOR_READERS):
            try:
                Rdict.destroy(str(self._folder), Options(raw_mode=True))
            except Exception as error:
                if not is_locked(error):
                    raise
                self._pause(_STALL_PAUSE_SECONDS)
            else:
                return
        raise StorageError(
            f"a reader keeps {self._folder} open, so that its new content cannot take its place: "
            "restart this node"
        )

    def statistics(self) -> EngineStatistics:
        """Count what the metrics and the status show; never reads rows."""
        database, data = self._opened(), self._columns[Space.DATA]
        with self._translated("reading statistics"):
            keys = data.property_int_value("rocksdb.estimate-num-keys")
            return statistics.gathered(
                self._options.get_statistics() or "",
                [one for one in database.live_files() if one["start_key"] != durable_mark.EPOCH],
                [path.stat().st_size for path in self._log.files()],
                {name: self._sum(name) for name in statistics.SUMMED},
                estimated_keys=keys or 0,
                cache_bytes=data.property_int_value("rocksdb.block-cache-usage") or 0,
            )

    def room(self) -> room.Room | None:
        """Measure the disk's room; that of the log's disk when it has less."""
        folders = [one for one in (self._folder, self._log.separate) if one is not None]
        return room.scarcest(folders, self._tuning.flush_bytes)

    def flush(self) -> None:
        """Move what is in memory to table files."""
        database = self._opened()
        with self._translated("flushing"):
            database.flush_wal(sync=True)
            for column in self._columns.values():
                column.flush(wait=True)

    def tune_compaction(self, tuning: CompactionTuning) -> None:
        """Change how the table files are merged in the background from now on; StorageError."""
        self._opened()
        before, self._tuning = self._tuning.running, replace(self._tuning, running=tuning)
        if tuning.at_once != before.at_once:
            limit_threads(tuning.at_once)
        if tuning.level_multiplier != before.level_multiplier:
            with self._state_lock, self._translated("changing compaction"):
                for column in self._columns.values():
                    column.set_options(
                        {"max_bytes_for_level_multiplier": str(tuning.level_multiplier)}
                    )

    def compact(self, start: bytes | None = None, end: bytes | None = None) -> None:
        """Rewrite the table files to give back the room of deleted and replaced values."""
        self._opened()
        spaces = Space if start is None and end is None else (Space.DATA,)
        with self._translated("compacting"):
            columns = [self._columns[space] for space in spaces]
            self._compactions.run(columns, start, end)

    def close(self) -> None:
        """Sync, end all views and close the files; idempotent."""
        with self._state_lock:
            self._closed = True
            if self._synced is not None:
                self._synced.close()
            if self._failure is None and self._database is not None:
                with self._translated("closing"):
                    self._database.flush_wal(sync=True)
            self._let_go()

    def _commit(self) -> None:
        """Put a staged content in place; the log of the old one is none of the new one's."""
        if swap.is_staged(self._folder):
            self._log.discard()
        swap.commit(self._folder)

    def _prepare(self, *, accept_loss: bool) -> None:
        """Check what opening changes, and use the configured folder for the log."""
        if self._synced is not None and not accept_loss:
            self._synced.check_manifest()
        self._use_log_folder(accept_loss=accept_loss)

    def _use_log_folder(self, *, accept_loss: bool) -> None:
        """Use the configured folder for the log; what is in another one moves to tables first."""
        self._log.require_present(accept_loss=accept_loss)
        if self._log.moves:
            self._open()
            self._check(accept_loss=accept_loss)
            self.flush()
            self._let_go()
        with self._translated("binding the folder of the log"):
            self._log.use_wanted()

    def _open(self) -> None:
        self._options = database_options(
            self._tuning, self._log.separate, compacts=self._compacts, every_log=self._every_log
        )
        with self._translated("opening the database"):
            families = family_options(self._tuning, compacts=self._compacts)
            database = Rdict(str(self._folder), self._options, families)
            self._handles = {s: database.get_column_family_handle(s.value) for s in Space}
            self._columns = {s: database.get_column_family(s.value) for s in Space}
            if self._compacts:
                limit_threads(self._tuning.running.at_once)
        self._database = database

    def _check(self, *, accept_loss: bool = False) -> None:
        if self._synced is not None:
            try:
                self._synced.check(self._opened(), accept_loss=accept_loss)
            except StorageError:
                self.close()
                raise

    def _let_go(self) -> None:
        """Give up everything that keeps the database open."""
        database, self._database = self._database, None
        for view in list(self._views):
            view.close()
        self._handles = {}
        self._columns = {}
        if database is not None:
            self._compactions.stop(database)
            # What could not be written was reported at that time.
            with contextlib.suppress(Exception):
                database.close()

    def _recover(self, failure: StorageError, changes: Changes) -> None:
        """Open the database again after a full disk; raises the failure while it is full."""
        if not isinstance(failure, StorageFullError) or not self._has_room_for(changes):
            raise failure
        with self._state_lock:
            if self._closed:
                raise closed()
            self._let_go()
            try:
                self._open()
            except StorageCorruptedError as error:
                self._failure = error
                raise
            except StorageError as error:
                # Still too full, or a reader has not closed the old database yet.
                raise failure from error
            self._failure = None

    def _has_room_for(self, changes: Changes) -> bool:
        size = sum(len(key) + len(value or b"") for _, key, value in changes.operations)
        return room.is_enough(self._folder, self._log.files(), size)

    def _reopened(self, space: Space) -> Rdict:
        """Wait for a reopening under way; raises when there is none or it failed."""
        with self._state_lock:
            column = self._columns.get(space)
        if column is None:
            raise self._failure or closed()
        return column

    def _write_when_possible(self, database: Rdict, changes: Changes) -> None:
        """Write without a sync; waits outside the binding while compaction catches up."""
        while True:
            try:
                database.write(batch_of(changes, self._handles), self._write_options)
            except Exception as error:
                if not is_stalled(error):
                    raise
                self._pause(_STALL_PAUSE_SECONDS)
            else:
                return

    def _opened(self) -> Rdict:
        if self._database is None:
            raise self._failure or closed()
        return self._database

    def _sum(self, property_name: str) -> int:
        return sum(
            column.property_int_value(property_name) or 0 for column in self._columns.values()
        )

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except Exception as error:
            raise translate(error, doing, self._folder) from error
