"""A database whose content is replaced as a whole, though readers look on and power fails."""

import threading
from pathlib import Path

import pytest
from amaters_server.model.errors import StorageError
from amaters_server.storage import swap
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.rocks import RocksEngine
from amaters_server.storage.tuning import RocksTuning

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


def test_a_reader_in_the_middle_of_a_scan_is_waited_for(engine: RocksEngine, image: Path) -> None:
    walking, go_on, ended = threading.Event(), threading.Event(), []

    def read() -> None:
        try:
            for _ in engine.view().scan(Space.DATA, b"", b"\xff"):
                walking.set()
                go_on.wait(5)
        except StorageError as error:
            ended.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    walking.wait(5)
    timer = threading.Timer(0.2, go_on.set)
    timer.start()

    engine.replace(image, lambda _: OWN)
    reader.join(5)

    assert ended == ["this view was closed: take a new one"]
    assert engine.get(Space.DATA, b"key-00000") == b"new"
    assert engine.get(Space.META, b"own") == b"mine"


def test_a_crash_after_the_promise_ends_with_the_new_content(tmp_path: Path, image: Path) -> None:
    filled(tmp_path / "db", b"old").close()
    swap.promise(tmp_path / "db", image)

    engine = RocksEngine(tmp_path / "db", SMALL)

    assert engine.get(Space.DATA, b"key-00000") == b"new"
    engine.close()
    assert {path.name for path in tmp_path.iterdir()} == {"db", "other"}


def test_a_crash_before_the_promise_leaves_the_old_content(
    engine: RocksEngine, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise StorageError("killed")

    monkeypatch.setattr(swap, "promise", dies)
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
