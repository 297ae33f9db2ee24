"""What the disk engine does when the disk, another process or compaction is in the way."""

import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from amaters_server.model.errors import (
    StorageCorruptedError,
    StorageError,
    StorageFullError,
    StorageLostError,
)
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.rocks import options
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.storage.rocks.errors import translate
from amaters_server.storage.rocks.tuning import Compaction, Compression, RocksTuning

SMALL = RocksTuning(block_cache_bytes=1 << 20, memtable_bytes=1 << 20, open_files=64)


def put(engine: RocksEngine, *keys: bytes, value: bytes = b"v" * 50, sync: bool = True) -> None:
    engine.write(Changes([(Space.DATA, key, value) for key in keys]), sync=sync)


def in_another_process(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    preamble = """
        import os, sys
        from pathlib import Path
        from amaters_server.storage.engine import Changes, Space
        from amaters_server.storage.rocks.engine import RocksEngine
        engine = RocksEngine(Path(sys.argv[1]))
        def put(key, sync):
            engine.write(Changes([(Space.DATA, key, b"v")]), sync=sync)
    """
    script = textwrap.dedent(preamble) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False
    )


def test_another_process_that_has_it_open_is_told(tmp_path: Path) -> None:
    engine = RocksEngine(tmp_path, SMALL)

    other = in_another_process("", tmp_path)

    assert other.returncode != 0
    assert "StorageError" in other.stderr
    assert "another process has it open: stop that process first" in other.stderr
    engine.close()


def test_synced_writes_survive_a_process_that_is_killed(tmp_path: Path) -> None:
    code = 'put(b"synced", True); put(b"unsynced", False); os.kill(os.getpid(), 9)'

    assert in_another_process(code, tmp_path).returncode == -9

    engine = RocksEngine(tmp_path, SMALL)
    assert engine.get(Space.DATA, b"synced") == b"v"
    engine.close()


def the_log(folder: Path) -> Path:
    return max(folder.glob("*.log"), key=lambda path: path.stat().st_size)


def killed_after_writing(folder: Path, count: int) -> None:
    code = f'[put(b"%04d" % n, True) for n in range({count})]; os.kill(os.getpid(), 9)'
    assert in_another_process(code, folder).returncode == -9


def test_a_torn_end_of_the_log_is_cut_off(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    code = 'put(b"synced", True); put(b"unsynced", False); os.kill(os.getpid(), 9)'
    in_another_process(code, folder)
    log = the_log(folder)
    os.truncate(log, log.stat().st_size - 3)

    engine = RocksEngine(folder, SMALL)

    assert engine.get(Space.DATA, b"synced") == b"v"
    assert engine.get(Space.DATA, b"unsynced") is None
    engine.close()


def _delete(log: Path) -> None:
    log.unlink()


def _empty(log: Path) -> None:
    os.truncate(log, 0)


def _cut(log: Path) -> None:
    os.truncate(log, log.stat().st_size - 3)


@pytest.mark.parametrize("harm", [_delete, _empty, _cut])
def test_a_log_that_lacks_what_was_synced_is_told(tmp_path: Path, harm) -> None:
    folder = tmp_path / "db"
    killed_after_writing(folder, 20)
    harm(the_log(folder))

    for _ in range(2):
        with pytest.raises(StorageLostError, match="newest log is missing or cut"):
            RocksEngine(folder, SMALL)

    engine = RocksEngine(folder, SMALL, accept_loss=True)
    put(engine, b"after")
    engine.close()
    RocksEngine(folder, SMALL).close()


MANY_LOGS = """
    for round in range(3):
        for n in range(10):
            key = b"%d%02d" % (round, n)
            rows = [(Space.DATA, key, b"v"), (Space.LOG, key, b"v")]
            engine.write(Changes(rows), sync=True)
        # Begins another log; this one is still needed for the other family.
        engine._columns[Space.DATA].flush(wait=True)
    put(b"309", True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("harm", [_delete, _empty, _cut])
@pytest.mark.parametrize("which", [0, 1, -1])
def test_each_log_that_is_needed_is_missed(tmp_path: Path, which: int, harm) -> None:
    folder = tmp_path / "db"
    assert in_another_process(MANY_LOGS, folder).returncode == -9
    logs = sorted(folder.glob("*.log"))
    assert len(logs) > 2
    harm(logs[which])

    for _ in range(2):
        with pytest.raises(StorageLostError, match=r"missing or cut.*--accept-loss"):
            RocksEngine(folder, SMALL)

    engine = RocksEngine(folder, SMALL, accept_loss=True)
    put(engine, b"after")
    engine.close()
    RocksEngine(folder, SMALL).close()


def the_manifest(folder: Path) -> Path:
    return folder / (folder / "CURRENT").read_text().strip()


def test_a_manifest_that_is_cut_is_told_wherever_it_is_cut(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    assert in_another_process(MANY_LOGS, folder).returncode == -9
    whole = the_manifest(folder).read_bytes()

    for size in range(0, len(whole), 11):
        the_manifest(folder).write_bytes(whole[:size])
        with pytest.raises(StorageCorruptedError):
            RocksEngine(folder, SMALL)

    the_manifest(folder).write_bytes(whole)
    engine = RocksEngine(folder, SMALL)
    assert engine.get(Space.DATA, b"309") == b"v"
    engine.close()


def test_a_loss_by_a_cut_manifest_can_be_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    assert in_another_process(MANY_LOGS, folder).returncode == -9
    manifest = the_manifest(folder)
    os.truncate(manifest, manifest.stat().st_size - 3)

    with pytest.raises(StorageLostError, match="manifest is cut or of an earlier time"):
        RocksEngine(folder, SMALL)
    RocksEngine(folder, SMALL, accept_loss=True).close()

    RocksEngine(folder, SMALL).close()


def test_a_content_that_is_replaced_has_a_manifest_of_its_own(tmp_path: Path) -> None:
    """Its own checkpoint has the id of the database, and an earlier manifest."""
    folder, copy = tmp_path / "db", tmp_path / "copy"
    engine = RocksEngine(folder, SMALL)
    put(engine, b"before")
    engine.checkpoint(copy)
    for name in range(20):
        put(engine, b"%d" % name)
        engine.flush()
    engine.replace(copy, lambda _: Changes())
    engine.close()

    engine = RocksEngine(folder, SMALL)
    assert engine.get(Space.DATA, b"before") is not None
    engine.close()


def test_the_mark_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    folder, mark = tmp_path / "db", tmp_path / "db.durable"
    killed_after_writing(folder, 20)
    row = b"AMD1" + mark.read_bytes()[4:28]
    mark.write_bytes(row + zlib.crc32(row).to_bytes(4, "big"))
    _cut(the_log(folder))

    with pytest.raises(StorageLostError, match="newest log is missing or cut"):
        RocksEngine(folder, SMALL)


def test_a_database_folder_that_was_emptied_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    killed_after_writing(folder, 1)
    shutil.rmtree(folder)

    with pytest.raises(StorageLostError):
        RocksEngine(folder, SMALL)


def test_a_database_of_an_earlier_version_gets_its_mark(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    killed_after_writing(folder, 3)
    (tmp_path / "db.durable").unlink()

    RocksEngine(folder, SMALL).close()

    engine = RocksEngine(folder, SMALL)
    assert engine.get(Space.DATA, b"0002") == b"v"
    engine.close()


def test_a_loss_that_was_accepted_stays_accepted_though_the_old_mark_comes_back(
    tmp_path: Path,
) -> None:
    folder, mark = tmp_path / "db", tmp_path / "db.durable"
    killed_after_writing(folder, 20)
    before = mark.read_bytes()
    _cut(the_log(folder))
    RocksEngine(folder, SMALL, accept_loss=True).close()

    mark.write_bytes(before)  # as after a power cut

    RocksEngine(folder, SMALL).close()


def test_a_content_that_an_earlier_version_installed_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    killed_after_writing(folder, 20)
    other = RocksEngine(tmp_path / "other", SMALL, compacts=False)
    put(other, b"key")
    other.close()
    shutil.rmtree(folder)
    (tmp_path / "other").rename(folder)

    engine = RocksEngine(folder, SMALL)

    assert engine.get(Space.DATA, b"key") is not None
    engine.close()


def test_a_mark_that_is_cut_under_a_running_engine_harms_nobody(tmp_path: Path) -> None:
    engine = RocksEngine(tmp_path / "db", SMALL)
    os.truncate(tmp_path / "db.durable", 0)

    put(engine, b"key")
    engine.close()

    RocksEngine(tmp_path / "db", SMALL).close()


@pytest.mark.slow
def test_a_damaged_mark_stops_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    killed_after_writing(folder, 3)
    (tmp_path / "db.durable").write_bytes(b"x" * 64)

    RocksEngine(folder, SMALL).close()


def test_a_mark_never_runs_ahead_of_what_is_synced(tmp_path: Path) -> None:
    mark = tmp_path / "db.durable"
    engine = RocksEngine(tmp_path / "db", SMALL)
    put(engine, b"synced")
    before = mark.read_bytes()
    put(engine, b"unsynced", sync=False)

    assert mark.read_bytes() == before
    engine.close()


def test_damage_inside_the_log_is_told_instead_of_losing_what_follows(tmp_path: Path) -> None:
    killed_after_writing(tmp_path, 20)
    log = the_log(tmp_path)
    with log.open("r+b") as file:
        file.seek(log.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0xFF]))

    with pytest.raises(StorageCorruptedError, match="damaged data: replace this member"):
        RocksEngine(tmp_path, SMALL)


def test_a_damaged_table_file_is_told_when_it_is_read(tmp_path: Path) -> None:
    engine = RocksEngine(tmp_path, SMALL)
    put(engine, *(b"%06d" % n for n in range(5_000)), value=os.urandom(100))
    engine.flush()
    engine.close()
    table = max(tmp_path.glob("*.sst"), key=lambda path: path.stat().st_size)
    with table.open("r+b") as file:
        for at in range(200, table.stat().st_size // 2, 512):
            file.seek(at)
            file.write(b"\x5a\xa5")

    with pytest.raises(StorageCorruptedError):  # noqa: PT012 - whichever notices first
        engine = RocksEngine(tmp_path, SMALL)
        view = engine.view()
        list(view.scan(Space.DATA, b"", b"\xff"))


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="check the disk and its mount"):
        RocksEngine(tmp_path / "file" / "db", SMALL)


@pytest.mark.parametrize(
    ("text", "kind", "hint"),
    [
        ("IO error: No space left on device: While appending", StorageFullError, "make room"),
        ("IO error: Disk quota exceeded", StorageFullError, "make room"),
        ("Corruption: block checksum mismatch", StorageCorruptedError, "replace this member"),
        ("IO error: While lock file: /x/LOCK: Resource busy", StorageError, "stop that process"),
        ("IO error: Input/output error", StorageError, "check the disk"),
    ],
)
def test_errors_say_what_to_do(text: str, kind: type[StorageError], hint: str) -> None:
    error = translate(Exception(text), "writing", Path("/data/db"))

    assert type(error) is kind
    assert hint in str(error)
    assert "/data/db" in str(error)
    assert text in str(error)


class Spoilt:
    """A database whose writes fail as they are told to; everything else is real."""

    def __init__(self, real, failures) -> None:
        self._real = real
        self.failures = failures

    def __getattr__(self, name: str):
        return getattr(self._real, name)

    def write(self, batch, options) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self._real.write(batch, options)


def test_after_a_failed_write_every_further_one_is_refused(tmp_path: Path) -> None:
    engine = RocksEngine(tmp_path, SMALL)
    put(engine, b"before")
    engine._database = Spoilt(engine._database, [Exception("IO error: Input/output error")])

    with pytest.raises(StorageError, match="check the disk"):
        put(engine, b"first")
    with pytest.raises(StorageError):
        put(engine, b"second")

    assert engine.get(Space.DATA, b"before") is not None
    assert engine.get(Space.DATA, b"second") is None
    engine._database = engine._database._real
    engine.close()


class WritesFirst:
    """A column family that a write comes in before, the first time its snapshot is taken."""

    def __init__(self, real, write) -> None:
        self._real = real
        self._write = write

    def __getattr__(self, name: str):
        return getattr(self._real, name)

    def snapshot(self):
        if self._write is not None:
            write, self._write = self._write, None
            write()
        return self._real.snapshot()


def test_a_view_is_taken_again_when_a_write_came_in_between(tmp_path: Path) -> None:
    engine = RocksEngine(tmp_path, SMALL)
    both = Changes([(Space.DATA, b"k", b"v"), (Space.META, b"k", b"v")])
    meta = engine._columns[Space.META]
    engine._columns[Space.META] = WritesFirst(meta, lambda: engine.write(both, sync=False))

    view = engine.view()

    assert (view.get(Space.DATA, b"k"), view.get(Space.META, b"k")) == (b"v", b"v")
    assert list(view.scan(Space.DATA, b"", b"z")) == list(view.scan(Space.META, b"", b"z"))
    engine._columns[Space.META] = meta
    del view
    engine.close()


def test_a_write_waits_while_compaction_lags_behind(tmp_path: Path) -> None:
    pauses: list[float] = []
    engine = RocksEngine(tmp_path, SMALL, pause=pauses.append)
    stalled = Exception("Result incomplete: Write stall")
    engine._database = Spoilt(engine._database, [stalled, stalled])

    put(engine, b"k")

    assert len(pauses) == 2
    assert engine.get(Space.DATA, b"k") is not None
    engine._database = engine._database._real
    engine.close()


def test_a_synced_write_lets_other_threads_run(tmp_path: Path) -> None:
    """The fsync is most of a write; a thread that counts must get on meanwhile."""
    engine = RocksEngine(tmp_path, SMALL)
    spans: list[tuple[float, float]] = []

    def write() -> None:
        for number in range(30):
            begin = time.perf_counter()
            put(engine, b"%d" % number, value=b"v" * 20_000)
            spans.append((begin, time.perf_counter()))

    writer = threading.Thread(target=write)
    writer.start()
    marks = []
    while writer.is_alive():
        marks.append(time.perf_counter())

    counted = sum(any(begin < mark < end for begin, end in spans) for mark in marks[::100])
    assert counted > 30
    engine.close()


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("compaction", Compaction)
def test_every_tuning_works(
    tmp_path: Path, compression: Compression, compaction: Compaction
) -> None:
    tuning = RocksTuning(
        block_cache_bytes=1 << 20,
        memtable_bytes=1 << 16,
        compression=compression,
        compaction=compaction,
        open_files=64,
    )
    engine = RocksEngine(tmp_path, tuning)

    put(engine, *(b"%05d" % n for n in range(3_000)))
    engine.flush()
    engine.compact()

    assert engine.get(Space.DATA, b"02999") is not None
    engine.close()


def test_statistics_follow_what_happens(tmp_path: Path) -> None:
    engine = RocksEngine(tmp_path, SMALL)
    put(engine, *(b"%05d" % n for n in range(2_000)))
    before = engine.statistics()

    engine.flush()
    put(engine, b"more")
    engine.flush()
    engine.compact()
    for _ in range(2):
        engine.get(Space.DATA, b"00500")
    after = engine.statistics()

    assert before.wal_bytes > 100_000
    assert before.memtable_bytes > 100_000
    assert after.wal_bytes < before.wal_bytes
    assert after.memtable_bytes < before.memtable_bytes
    assert before.table_files == 0
    assert after.table_files > 0
    assert after.table_bytes > 0
    assert after.estimated_keys == 2_001
    assert after.compactions > 0
    assert after.cache_misses > 0
    assert after.cache_hits > 0


def test_deleted_data_gives_its_room_back(tmp_path: Path) -> None:
    engine = RocksEngine(tmp_path, SMALL)
    put(engine, *(b"%05d" % n for n in range(3_000)), value=os.urandom(500))
    engine.flush()
    full = engine.statistics().table_bytes

    changes = Changes()
    changes.clear(Space.DATA, b"", b"\xff")
    engine.write(changes, sync=True)
    engine.flush()
    engine.compact()

    assert engine.statistics().table_bytes < full / 10
    engine.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 6 MiB, 2 of them taken by a file that can be deleted."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(mount)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    (mount / "filler").write_bytes(bytes(2 << 20))
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=False)


@pytest.mark.slow
def test_a_full_disk_is_told_and_loses_nothing_that_was_acknowledged(small_disk: Path) -> None:
    engine = RocksEngine(small_disk / "db", SMALL)
    acknowledged: list[bytes] = []

    def fill() -> None:
        for number in range(100):
            put(engine, b"%d" % number, value=random.Random(number).randbytes(100_000))
            acknowledged.append(b"%d" % number)

    with pytest.raises(StorageFullError, match="the disk is full: make room"):
        fill()
    with pytest.raises(StorageFullError):
        put(engine, b"again")
    assert engine.get(Space.DATA, b"0") is not None
    engine.close()
    (small_disk / "filler").unlink()

    again = RocksEngine(small_disk / "db", SMALL)
    assert len(acknowledged) > 5
    for key in acknowledged:
        assert again.get(Space.DATA, key) == random.Random(int(key)).randbytes(100_000)
    assert again.get(Space.DATA, b"again") is None
    put(again, b"again")
    again.close()


@pytest.mark.slow
def test_writing_goes_on_by_itself_once_there_is_room(small_disk: Path) -> None:
    engine = RocksEngine(small_disk / "db", SMALL)
    (small_disk / "more").write_bytes(bytes(shutil.disk_usage(small_disk).free - 300_000))
    put(engine, b"first")
    view = engine.view()
    big = random.Random(1).randbytes(400_000)
    for _ in range(3):
        with pytest.raises(StorageFullError):
            put(engine, b"big", value=big)

    (small_disk / "filler").unlink()
    put(engine, b"big", value=big)

    assert engine.get(Space.DATA, b"first") is not None
    assert engine.get_many(Space.DATA, [b"big"]) == [big]
    with pytest.raises(StorageError, match="view was closed"):
        view.get(Space.DATA, b"first")
    engine.close()


def test_the_module_names_every_compression() -> None:
    assert set(options._COMPRESSIONS) == set(Compression)
