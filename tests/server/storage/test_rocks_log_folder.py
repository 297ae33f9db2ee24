"""The log in a folder of its own: it moves without a loss, and never to another database."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from amaters_server.model.errors import StorageError, StorageLostError
from amaters_server.storage import small_file, swap
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.rocks import engine as rocks
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.storage.rocks.log_folder import LogFolder
from amaters_server.storage.rocks.tuning import RocksTuning

SMALL = RocksTuning(block_cache_bytes=1 << 20, memtable_bytes=1 << 20, open_files=64)
KILLED = """
import os, sys
from pathlib import Path
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.rocks.engine import RocksEngine
engine = RocksEngine(Path(sys.argv[1]), log_folder=Path(sys.argv[2]) if sys.argv[2] else None)
for number in range(int(sys.argv[3])):
    engine.write(Changes([(Space.DATA, b"%04d" % number, b"v")]), sync=True)
os.kill(os.getpid(), 9)
"""


def killed_after_writing(database: Path, log: Path | None, count: int = 20) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(database), str(log or ""), str(count)], check=False
    )
    assert done.returncode == -9


def opened(database: Path, log: Path | None, **options) -> RocksEngine:
    return RocksEngine(database, SMALL, log_folder=log, **options)


def put(engine: RocksEngine, key: bytes, value: bytes = b"v") -> None:
    engine.write(Changes([(Space.DATA, key, value)]), sync=True)


def logs(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.log"))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "data" / "db"


def test_the_log_is_in_its_folder_and_survives_a_killed_process(database, tmp_path):
    killed_after_writing(database, tmp_path / "wal")

    assert logs(tmp_path / "wal")
    assert not logs(database)
    assert (tmp_path / "wal").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "wal" / "OWNER").stat().st_mode & 0o777 == 0o600
    engine = opened(database, tmp_path / "wal")
    assert engine.get(Space.DATA, b"0019") == b"v"
    assert engine.statistics().wal_files == len(logs(tmp_path / "wal"))
    engine.close()


@pytest.mark.parametrize(
    ("before", "after"), [(None, "wal"), ("wal", None), ("wal", "other"), ("wal", "linked")]
)
def test_a_changed_folder_takes_the_log_over_without_a_loss(database, tmp_path, before, after):
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    old, new = (one and tmp_path / one for one in (before, after))
    killed_after_writing(database, old)

    for _ in range(2):
        engine = opened(database, new)
        assert engine.get(Space.DATA, b"0019") == b"v"
        put(engine, b"after")
        engine.close()

    assert not logs(old or database)
    assert logs(new or database)


@pytest.mark.parametrize("step", ["bound", "claimed", "leftovers"])
def test_a_move_that_a_crash_interrupts_loses_nothing(database, tmp_path, monkeypatch, step):
    killed_after_writing(database, None)

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        name = {"bound": "_bind", "claimed": "_claim", "leftovers": "remove_leftovers"}[step]
        patch.setattr(LogFolder, name, crash)
        with pytest.raises(KeyboardInterrupt):
            opened(database, tmp_path / "wal")

    for log in (None, tmp_path / "wal"):
        engine = opened(database, log)
        assert engine.get(Space.DATA, b"0019") == b"v"
        engine.close()


def test_a_folder_that_is_not_mounted_is_refused(database, tmp_path):
    killed_after_writing(database, tmp_path / "wal")
    (tmp_path / "wal").rename(tmp_path / "unmounted")

    for configured in (tmp_path / "wal", None):
        with pytest.raises(StorageError, match=r"missing, or is not its own: mount the right disk"):
            opened(database, configured)
    assert not (tmp_path / "wal").exists()

    (tmp_path / "unmounted").rename(tmp_path / "wal")
    engine = opened(database, tmp_path / "wal")
    assert engine.get(Space.DATA, b"0019") == b"v"
    engine.close()


def test_a_lost_folder_is_a_loss_that_has_to_be_accepted(database, tmp_path):
    killed_after_writing(database, tmp_path / "wal")
    for path in (tmp_path / "wal").glob("*.log"):
        path.unlink()
    with pytest.raises(StorageLostError):
        opened(database, tmp_path / "wal")
    shutil.rmtree(tmp_path / "wal")

    engine = opened(database, tmp_path / "wal", accept_loss=True)
    put(engine, b"after")
    engine.close()
    opened(database, tmp_path / "wal").close()


def test_the_log_of_another_database_is_refused_and_left_alone(database, tmp_path):
    killed_after_writing(database, tmp_path / "wal")
    before = logs(tmp_path / "wal")

    with pytest.raises(StorageError, match=rf"log of another database \({database}\)"):
        opened(tmp_path / "second" / "db", tmp_path / "wal")

    assert logs(tmp_path / "wal") == before
    engine = opened(database, tmp_path / "wal")
    assert engine.get(Space.DATA, b"0019") == b"v"
    engine.close()


def test_a_folder_inside_the_database_is_refused(database):
    with pytest.raises(StorageError, match=r"inside the database's own folder"):
        opened(database, database / "wal")


def test_the_databases_own_folder_is_no_other_one(database):
    opened(database, database).close()

    assert logs(database)
    assert not (database / "OWNER").exists()


def image_of(tmp_path: Path, log: Path | None) -> Path:
    source = opened(tmp_path / "source" / "db", log)
    put(source, b"new", b"1")
    source.checkpoint(tmp_path / "image")
    put(source, b"later", b"1")
    source.close()
    return tmp_path / "image"


@pytest.mark.parametrize("log", ["wal", None])
@pytest.mark.parametrize("log_of_image", ["source-wal", None])
def test_a_replaced_content_is_not_mixed_with_the_old_log(database, tmp_path, log, log_of_image):
    """A snapshot and a restored backup come in this way."""
    image = image_of(tmp_path, log_of_image and tmp_path / log_of_image)
    wal = log and tmp_path / log
    engine = opened(database, wal)
    put(engine, b"old-0")

    engine.replace(image, lambda _: Changes([(Space.META, b"own", b"mine")]))

    for _ in range(2):
        assert engine.get(Space.DATA, b"new") == b"1"
        assert engine.get(Space.META, b"own") == b"mine"
        assert engine.get(Space.DATA, b"later") is None
        assert engine.get(Space.DATA, b"old-0") is None
        put(engine, b"after", b"2")
        engine.close()
        engine = opened(database, wal)
    assert engine.get(Space.DATA, b"after") == b"2"
    engine.close()


@pytest.mark.parametrize("at", ["discard", "commit"])
def test_a_replacement_that_a_crash_interrupts_is_finished(database, tmp_path, monkeypatch, at):
    image = image_of(tmp_path, None)
    engine = opened(database, tmp_path / "wal")
    put(engine, b"old")

    def crash(of: object) -> None:
        if at == "discard" or of == database:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        owner, name = (LogFolder, "discard") if at == "discard" else (rocks.swap, "commit")
        patch.setattr(owner, name, crash)
        with pytest.raises(KeyboardInterrupt):
            engine.replace(image, lambda _: Changes([(Space.META, b"own", b"mine")]))
    assert swap.is_staged(database)
    assert bool(logs(tmp_path / "wal")) == (at == "discard")  # Gone before the new content comes.

    again = opened(database, tmp_path / "wal")
    assert again.get(Space.DATA, b"new") == b"1"
    assert again.get(Space.META, b"own") == b"mine"
    assert again.get(Space.DATA, b"old") is None
    again.close()


def test_files_of_others_in_the_folder_stay(database, tmp_path):
    (tmp_path / "wal").mkdir()
    for name in ("server.log", "lost+found"):
        (tmp_path / "wal" / name).touch()
    opened(database, tmp_path / "wal").close()

    opened(database, None).close()

    assert sorted(os.listdir(tmp_path / "wal")) == ["lost+found", "server.log"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"id": 1}'])
def test_a_damaged_record_is_named(database, content):
    opened(database, None).close()
    small_file.write(database.with_name("db.wal"), content)

    with pytest.raises(StorageError, match=r"db\.wal is damaged"):
        opened(database, None)


def test_the_room_is_that_of_the_disk_with_less(database, tmp_path, monkeypatch):
    engine = opened(database, tmp_path / "wal")
    free = {str(database): 5 << 30, str(tmp_path / "wal"): 1 << 30}
    monkeypatch.setattr(
        rocks.room, "measured", lambda folder, _: rocks.room.Room(free[str(folder)], 9 << 30, "")
    )

    assert engine.room().free == 1 << 30
    engine.close()
