"""A database whose content is replaced as a whole, though readers look on and power fails."""

from pathlib import Path

import pytest
from amaters_server.model.errors import StorageError
from amaters_server.storage import swap
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.rocks import engine as rocks
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.storage.rocks.tuning import RocksTuning

SMALL = RocksTuning(block_cache_bytes=1 << 20, memtable_bytes=1 << 20, open_files=64)
OWN = Changes([(Space.META, b"own", b"mine")])


def filled(folder: Path, value: bytes, rows: int = 1) -> RocksEngine:
    engine = RocksEngine(folder, SMALL)
    changes = Changes()
    for number in range(rows):
        changes.put(Space.DATA, b"key-%05d" % number, value)
    engine.write(changes, sync=True)
    return engine


@pytest.fixture
def engine(tmp_path: Path):
    engine = filled(tmp_path / "db", b"old", 3000)
    yield engine
    engine.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    other = filled(tmp_path / "other", b"new")
    other.checkpoint(tmp_path / "image")
    other.close()
    return tmp_path / "image"


def test_a_scan_under_way_ends_and_does_not_mix_old_and_new(
    engine: RocksEngine, image: Path
) -> None:
    view = engine.view()
    scan = view.scan(Space.DATA, b"", b"\xff")
    assert next(scan) == (b"key-00000", b"old")

    engine.replace(image, lambda _: OWN)

    with pytest.raises(StorageError, match="this view was closed"):
        next(scan)
    assert engine.get(Space.DATA, b"key-00000") == b"new"
    assert engine.get(Space.META, b"own") == b"mine"


def test_a_reader_in_the_middle_of_a_row_is_waited_for(
    engine: RocksEngine, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [engine._columns[Space.DATA].iter()]
    monkeypatch.setattr(engine, "_pause", lambda _: held.clear())

    engine.replace(image, lambda _: OWN)

    assert held == []
    assert engine.get(Space.DATA, b"key-00000") == b"new"


def test_a_reader_that_never_ends_stops_the_node_and_not_the_new_content(
    engine: RocksEngine, image: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held = [engine._columns[Space.DATA].iter()]
    monkeypatch.setattr(rocks, "_MOST_WAITS_FOR_READERS", 10)

    with pytest.raises(StorageError, match="restart this node"):
        engine.replace(image, lambda _: OWN)
    held.clear()

    again = RocksEngine(tmp_path / "db", SMALL)
    assert again.get(Space.DATA, b"key-00000") == b"new"
    again.close()


def test_a_crash_after_staging_ends_with_the_new_content(tmp_path: Path, image: Path) -> None:
    filled(tmp_path / "db", b"old").close()
    swap.stage(tmp_path / "db", image)

    engine = RocksEngine(tmp_path / "db", SMALL)

    assert engine.get(Space.DATA, b"key-00000") == b"new"
    engine.close()
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"db", "other"}


def test_a_crash_before_staging_leaves_the_old_content(
    engine: RocksEngine, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise StorageError("killed")

    monkeypatch.setattr(swap, "stage", dies)
    with pytest.raises(StorageError, match="killed"):
        engine.replace(image, lambda _: OWN)
    engine.close()

    again = RocksEngine(tmp_path / "db", SMALL)

    assert again.get(Space.DATA, b"key-00000") == b"old"
    assert again.get(Space.META, b"own") is None
    again.close()


def test_writing_goes_on_after_the_replacement(engine: RocksEngine, image: Path) -> None:
    engine.replace(image, lambda _: OWN)

    engine.write(Changes([(Space.DATA, b"key-00000", b"newer")]), sync=True)

    assert engine.get(Space.DATA, b"key-00000") == b"newer"
    assert engine.statistics().table_files > 0
