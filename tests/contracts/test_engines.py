"""What every storage engine promises; run on both."""

import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from amaters_server.model.errors import StorageError
from amaters_server.storage.engine import Changes, Engine, Space
from amaters_server.storage.memory import MemoryDisk, MemoryEngine
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.storage.rocks.tuning import RocksTuning

SMALL = RocksTuning(block_cache_bytes=1 << 20, memtable_bytes=1 << 20, open_files=64)
TOP = b"\xff" * 16

Opener = Callable[[], Engine]


class Place:
    """Where an engine keeps its data, and how to open it there and elsewhere."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.disk = MemoryDisk()

    def open(self) -> Engine:
        if self.kind == "memory":
            return MemoryEngine(self.disk)
        return RocksEngine(self.folder / "db", SMALL)

    def open_checkpoint(self, folder: Path) -> Engine:
        if self.kind == "memory":
            return MemoryEngine.from_checkpoint(folder)
        return RocksEngine(folder, SMALL)


@pytest.fixture(params=["memory", "rocks"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path)


@pytest.fixture
def engine(place: Place) -> Iterator[Engine]:
    engine = place.open()
    yield engine
    engine.close()


def write(engine: Engine, *rows: tuple[bytes, bytes | None], space: Space = Space.DATA) -> None:
    changes = Changes()
    for key, value in rows:
        if value is None:
            changes.delete(space, key)
        else:
            changes.put(space, key, value)
    engine.write(changes, sync=True)


def rows(engine: Engine, space: Space = Space.DATA) -> list[tuple[bytes, bytes]]:
    view = engine.view()
    try:
        return list(view.scan(space, b"", TOP))
    finally:
        view.close()


def test_returns_what_was_written_and_none_for_the_rest(engine: Engine) -> None:
    write(engine, (b"k", b"v"), (b"empty", b""))

    assert engine.get(Space.DATA, b"k") == b"v"
    assert engine.get(Space.DATA, b"empty") == b""
    assert engine.get(Space.DATA, b"absent") is None


def test_a_deleted_key_is_gone_and_deleting_an_absent_one_is_no_error(engine: Engine) -> None:
    write(engine, (b"k", b"v"))

    write(engine, (b"k", None), (b"never", None))

    assert engine.get(Space.DATA, b"k") is None
    assert rows(engine) == []


def test_keys_are_walked_in_bytewise_order(engine: Engine) -> None:
    keys = [b"b", b"a\x00", b"a", b"\xfe", b"", b"\x00", b"ab", b"a\xff"]

    write(engine, *((key, key) for key in keys))

    assert [key for key, _ in rows(engine)] == sorted(keys)


def test_a_scan_takes_its_start_and_not_its_end(engine: Engine) -> None:
    write(engine, *((bytes([n]), b"") for n in range(10)))
    view = engine.view()

    assert [k[0] for k, _ in view.scan(Space.DATA, b"\x02", b"\x05")] == [2, 3, 4]
    assert list(view.scan(Space.DATA, b"\x05", b"\x05")) == []
    assert list(view.scan(Space.DATA, b"\x05", b"\x02")) == []
    view.close()


def test_spaces_do_not_mix_and_one_write_reaches_them_all(engine: Engine) -> None:
    changes = Changes()
    for space in Space:
        changes.put(space, b"k", space.value.encode())

    engine.write(changes, sync=True)

    assert [engine.get(space, b"k") for space in Space] == [b"data", b"log", b"meta"]


def test_later_operations_of_one_write_win(engine: Engine) -> None:
    write(engine, (b"k", b"1"), (b"k", None), (b"k", b"2"), (b"gone", b"1"), (b"gone", None))

    assert rows(engine) == [(b"k", b"2")]


def test_ranges_are_cleared_before_the_puts_of_the_same_write(engine: Engine) -> None:
    write(engine, *((bytes([n]), b"old") for n in range(10)))
    changes = Changes()
    changes.put(Space.DATA, b"\x04", b"new")
    changes.clear(Space.DATA, b"\x02", b"\x08")

    engine.write(changes, sync=True)

    assert [k[0] for k, _ in rows(engine)] == [0, 1, 4, 8, 9]
    assert engine.get(Space.DATA, b"\x04") == b"new"


def test_clearing_a_range_leaves_the_other_spaces_and_takes_many_rows(engine: Engine) -> None:
    many = [(n.to_bytes(4, "big"), b"v") for n in range(2_000)]
    write(engine, *many, space=Space.LOG)
    write(engine, *many)
    changes = Changes()
    changes.clear(Space.LOG, (5).to_bytes(4, "big"), (1_995).to_bytes(4, "big"))
    changes.clear(Space.META, b"", TOP)
    changes.clear(Space.DATA, b"z", b"a")

    engine.write(changes, sync=False)

    assert rows(engine, Space.LOG) == many[:5] + many[1_995:]
    assert rows(engine) == many


def test_get_many_answers_in_the_order_asked(engine: Engine) -> None:
    write(engine, (b"a", b"1"), (b"b", b"2"))

    assert engine.get_many(Space.DATA, (b"b", b"x", b"a", b"b")) == [b"2", None, b"1", b"2"]
    assert engine.get_many(Space.DATA, []) == []


def test_a_view_does_not_see_later_writes_in_any_space(engine: Engine) -> None:
    for space in Space:
        write(engine, (b"k", b"old"), (b"gone", b"old"), space=space)
    view = engine.view()
    for space in Space:
        write(engine, (b"k", b"new"), (b"gone", None), (b"more", b"new"), space=space)
    changes = Changes()
    changes.clear(Space.DATA, b"", TOP)
    engine.write(changes, sync=True)

    for space in Space:
        assert list(view.scan(space, b"", TOP)) == [(b"gone", b"old"), (b"k", b"old")]
        assert view.get(space, b"k") == b"old"
        assert view.get(space, b"more") is None
    view.close()


def test_views_of_different_times_live_side_by_side(engine: Engine) -> None:
    views = []
    for n in range(5):
        write(engine, *((b"%04d" % m, b"%d" % n) for m in range(0, 1000, 10)))
        views.append(engine.view())

    for n, view in enumerate(views):
        assert {value for _, value in view.scan(Space.DATA, b"", TOP)} == {b"%d" % n}
        view.close()


def test_a_scan_is_lazy_and_may_be_left_half_way(engine: Engine) -> None:
    write(engine, *((n.to_bytes(4, "big"), b"v") for n in range(3_000)))
    view = engine.view()
    scan = view.scan(Space.DATA, b"", TOP)

    assert [key for key, _ in islice(scan, 2)] == [b"\0\0\0\0", b"\0\0\0\1"]
    write(engine, (b"\0\0\0\2", None))
    assert next(scan)[0] == b"\0\0\0\2"
    view.close()


def test_scans_of_one_view_do_not_disturb_each_other(engine: Engine) -> None:
    keys = [b"%03d" % n for n in range(300)]
    write(engine, *((key, key) for key in keys))
    view = engine.view()
    ahead, behind = (view.scan(Space.DATA, b"", TOP) for _ in range(2))

    first = [next(ahead)[0] for _ in range(10)]
    both = [(next(ahead)[0], next(behind)[0]) for _ in range(290)]

    assert first + [one for one, _ in both] == keys
    assert [one for _, one in both] + [key for key, _ in behind] == keys
    assert list(ahead) == []
    view.close()


def test_a_closed_view_refuses_to_be_read(engine: Engine) -> None:
    write(engine, (b"a", b"1"), (b"b", b"2"))
    view = engine.view()
    scan = view.scan(Space.DATA, b"", TOP)
    next(scan)

    view.close()

    with pytest.raises(StorageError, match="view was closed"):
        view.get(Space.DATA, b"a")
    with pytest.raises(StorageError, match="view was closed"):
        view.scan(Space.DATA, b"", TOP)
    with pytest.raises(StorageError, match="view was closed"):
        next(scan)


def test_everything_is_there_after_reopening(place: Place) -> None:
    engine = place.open()
    write(engine, *((n.to_bytes(2, "big"), b"v" * n) for n in range(300)))
    write(engine, (b"m", b"1"), space=Space.META)
    before = rows(engine)
    engine.close()

    again = place.open()

    assert rows(again) == before
    assert again.get(Space.META, b"m") == b"1"
    again.close()


def test_closing_twice_is_fine_even_with_a_view_and_a_scan_left_open(place: Place) -> None:
    engine = place.open()
    write(engine, (b"a", b"1"), (b"b", b"2"))
    view = engine.view()
    scan = view.scan(Space.DATA, b"", TOP)
    next(scan)

    engine.close()
    engine.close()

    again = place.open()
    assert again.get(Space.DATA, b"a") == b"1"
    again.close()


def test_a_closed_engine_refuses_everything(place: Place) -> None:
    engine = place.open()
    engine.close()

    for use in (
        lambda: engine.get(Space.DATA, b"k"),
        lambda: engine.get_many(Space.DATA, [b"k"]),
        lambda: engine.write(Changes(), sync=True),
        engine.view,
        engine.flush,
        engine.compact,
        engine.statistics,
    ):
        with pytest.raises(StorageError, match="closed"):
            use()


def test_opening_twice_is_refused_with_the_reason(place: Place) -> None:
    engine = place.open()

    with pytest.raises(StorageError, match=r"stop that process|close it first"):
        place.open()
    engine.close()


def test_a_checkpoint_is_a_whole_copy_of_one_moment(place: Place, tmp_path: Path) -> None:
    engine = place.open()
    write(engine, (b"k", b"v"))
    write(engine, (b"m", b"1"), space=Space.META)

    engine.checkpoint(tmp_path / "copies" / "one")
    write(engine, (b"k", b"later"))
    with pytest.raises(StorageError, match="exists already"):
        engine.checkpoint(tmp_path / "copies" / "one")
    engine.close()

    copy = place.open_checkpoint(tmp_path / "copies" / "one")
    assert rows(copy) == [(b"k", b"v")]
    assert copy.get(Space.META, b"m") == b"1"
    copy.close()


def test_statistics_count_keys_and_memory(engine: Engine) -> None:
    write(engine, *((b"%d" % n, b"v" * 100) for n in range(50)))

    seen = engine.statistics()

    assert seen.estimated_keys == 50
    assert seen.memtable_bytes >= 5_000


def test_an_inspection_reads_everything_of_a_checkpoint(engine: Engine, tmp_path: Path) -> None:
    write(engine, *((bytes([n]), b"v" * n) for n in range(50)))
    write(engine, (b"log", b"entry"), space=Space.LOG)
    engine.checkpoint(tmp_path / "copy")
    write(engine, (b"later", b""))

    inspection = engine.inspected(tmp_path / "copy")

    assert list(inspection.rows(Space.DATA, b"")) == [(bytes([n]), b"v" * n) for n in range(50)]
    assert [key[0] for key, _ in inspection.rows(Space.DATA, b"\x30")] == [0x30, 0x31]
    assert list(inspection.rows(Space.LOG, b"")) == [(b"log", b"entry")]
    inspection.close()
    inspection.close()


def test_flushing_and_compacting_change_nothing_that_is_read(engine: Engine) -> None:
    write(engine, *((b"%d" % n, b"v" * 100) for n in range(50)))
    before = rows(engine)

    engine.flush()
    engine.compact(b"a", b"c")
    engine.compact()

    assert rows(engine) == before


def test_a_reader_never_sees_half_of_a_write(engine: Engine) -> None:
    keys = [b"%d" % n for n in range(20)]
    stop = threading.Event()

    def keep_writing() -> None:
        for n in range(100_000):
            if stop.is_set():
                return
            changes = Changes()
            for key in keys:
                changes.put(Space.DATA, key, b"%d" % n)
            changes.put(Space.META, b"n", b"%d" % n)
            engine.write(changes, sync=False)

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for _ in range(400):
            view = engine.view()
            seen = {value for _, value in view.scan(Space.DATA, b"", TOP)}
            meta = view.get(Space.META, b"n")
            view.close()
            assert seen in ({meta}, set())
    finally:
        stop.set()
        writer.join()
        sys.setswitchinterval(usual)
