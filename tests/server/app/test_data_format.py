"""A data folder says in which form it is, and one of a later form is refused by name."""

import errno
import json
import os

import pytest
from amaters_server import __version__
from amaters_server.app.files.engine import examined_engine, open_engine
from amaters_server.config.settings import Settings
from amaters_server.model.errors import ConfigurationError, StorageError, StorageFullError
from amaters_server.storage import data_format, small_file
from amaters_server.storage.data_format import FILE, FORMAT
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.migrations.known import MIGRATIONS


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def settings(data):
    return Settings.model_validate({"server": {"data_dir": str(data)}})


def written(settings, key=b"key"):
    engine = open_engine(settings)
    engine.write(Changes([(Space.DATA, key, b"value")]), sync=True)
    engine.close()


def test_new_data_is_marked_for_its_owner_alone(settings, data):
    written(settings)

    assert json.loads((data / FILE).read_text()) == {
        "format": FORMAT,
        "written_by": __version__,
        "revision": MIGRATIONS.newest,
    }
    assert (data / FILE).stat().st_mode & 0o777 == 0o600


def test_data_of_an_earlier_version_is_adopted(settings, data):
    written(settings)
    (data / FILE).unlink()

    engine = open_engine(settings)

    assert engine.get(Space.DATA, b"key") == b"value"
    assert json.loads((data / FILE).read_text())["format"] == 1
    engine.close()


@pytest.mark.parametrize("engine", ["lsm", "memory"])
def test_data_of_a_later_form_is_refused_by_name_and_left_alone(settings, data, engine):
    written(settings)
    content = b'{"format": 7, "written_by": "9.1.0", "and": "more"}'
    (data / FILE).write_bytes(content)
    before = sorted(path.name for path in (data / "db").iterdir())
    section = settings.storage.model_copy(update={"engine": engine})

    later = settings.model_copy(update={"storage": section})
    for opening in (open_engine, lambda settings: examined_engine(settings).__enter__()):
        with pytest.raises(StorageError) as refused:
            opening(later)
        assert str(refused.value) == (
            f"the data in {data} has format 7, written by version 9.1.0, and version {__version__} "
            f"reads formats up to {FORMAT}: start version 9.1.0 or later, or set server.data_dir to "
            "an empty folder and restore a backup there"
        )
    assert (data / FILE).read_bytes() == content
    assert sorted(path.name for path in (data / "db").iterdir()) == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"format": true, "written_by": "1"}',
        b'{"format": "1", "written_by": "1"}',
        b'{"format": 0, "written_by": "1"}',
        b'{"format": 2, "written_by": "a\\u001b[31m"}',
        b'{"format": 2, "written_by": 3}',
        b'{"format": 1, "written_by": "1", "revision": -1}',
        b'{"format": 1, "written_by": "1", "revision": "1"}',
        b'{"format": 1, "written_by": "1", "revision": 1e400}',
        b'{"format": 1, "written_by": "1", "revision": 1, "migrating_to": true}',
    ],
)
def test_a_damaged_mark_is_named(settings, data, content):
    data.mkdir()
    (data / FILE).write_bytes(content)

    with pytest.raises(
        StorageError, match=r"format\.json is damaged: write the content of another"
    ):
        open_engine(settings)


def test_a_crash_leaves_the_old_content_or_the_new(settings, data, monkeypatch):
    data.mkdir()
    (data / f"{FILE}.new").write_text("half")
    (data / f"{FILE}.new").chmod(0o666)
    written(settings)
    assert not (data / f"{FILE}.new").exists()
    assert (data / FILE).stat().st_mode & 0o777 == 0o600

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(small_file, "sync", crash)
    with pytest.raises(KeyboardInterrupt):
        small_file.write(data / FILE, b"other")
    assert json.loads((data / FILE).read_text())["format"] == FORMAT


@pytest.mark.parametrize(
    ("number", "kind", "step"),
    [
        (errno.ENOSPC, StorageFullError, "make room on that disk"),
        (errno.EACCES, ConfigurationError, r"set server\.data_dir to a path this user may write"),
    ],
)
def test_a_mark_that_cannot_be_written_names_the_folder(settings, monkeypatch, number, kind, step):
    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(data_format, "write", refused)
    with pytest.raises(kind, match=rf"data cannot be marked or migrated.*{step}"):
        open_engine(settings)


def test_a_replaced_content_keeps_the_mark(settings, data, tmp_path):
    """A restored backup and a snapshot of another member come in this way."""
    written(settings, b"old")
    before = (data / FILE).read_bytes()
    engine = open_engine(settings)
    engine.checkpoint(tmp_path / "image")

    engine.replace(tmp_path / "image", lambda _: Changes())
    engine.close()

    assert (data / FILE).read_bytes() == before
    open_engine(settings).close()
