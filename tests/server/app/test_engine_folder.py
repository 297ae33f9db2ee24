"""The engine goes on with its own folder only."""

import pytest
from amaters_server.app.composition.sources import probes_of
from amaters_server.app.files.engine import database_folder, open_engine
from amaters_server.config.settings import Settings
from amaters_server.model.errors import ConfigurationError, StorageLostError
from amaters_server.storage.engine import Changes, Space


@pytest.fixture
def settings(tmp_path):
    def made(engine="lsm", **wal):
        server = {"data_dir": str(tmp_path / "data"), "pid_file": str(tmp_path / "pid")}
        storage = {"engine": engine, "wal": wal}
        return Settings.model_validate({"server": server, "storage": storage})

    return made


def written(settings):
    engine = open_engine(settings)
    engine.write(Changes([(Space.DATA, b"key", b"value")]), sync=True)
    engine.close()


def test_memory_over_a_folder_with_data_is_refused(settings):
    written(settings())

    with pytest.raises(ConfigurationError, match="would seem to be gone"):
        open_engine(settings("memory"))

    engine = open_engine(settings())
    assert engine.get(Space.DATA, b"key") == b"value"
    engine.close()


def test_memory_in_an_empty_place_is_fine(settings):
    open_engine(settings("memory")).close()

    assert not database_folder(settings()).exists()


def test_a_file_in_the_databases_place_is_refused(settings):
    folder = database_folder(settings())
    folder.parent.mkdir()
    folder.write_text("mine")

    with pytest.raises(ConfigurationError, match="no database"):
        open_engine(settings())
    assert folder.read_text() == "mine"


def test_a_folder_of_something_else_is_refused_and_left_alone(settings):
    folder = database_folder(settings())
    folder.mkdir(parents=True)
    (folder / "photo.jpg").write_text("mine")

    with pytest.raises(ConfigurationError, match="no database"):
        open_engine(settings())
    assert [path.name for path in folder.iterdir()] == ["photo.jpg"]


def test_a_database_without_its_root_file_is_not_begun_anew(settings):
    written(settings())
    (database_folder(settings()) / "CURRENT").unlink()

    with pytest.raises((ConfigurationError, StorageLostError)):
        open_engine(settings())


def test_a_creation_that_was_cut_short_goes_on(settings):
    folder = database_folder(settings())
    folder.mkdir(parents=True)
    for name in ("LOCK", "LOG", "IDENTITY", "MANIFEST-000001"):
        (folder / name).touch()

    open_engine(settings()).close()


@pytest.mark.parametrize("left", [(), ("000009.sst",)], ids=["deleted", "half deleted"])
def test_a_swap_that_was_cut_short_is_finished_and_memory_is_refused(settings, left):
    written(settings())
    folder = database_folder(settings())
    folder.rename(folder.with_name("db.next"))
    if left:
        folder.mkdir()
        for name in left:
            (folder / name).touch()

    with pytest.raises(ConfigurationError, match="would seem to be gone"):
        open_engine(settings("memory"))

    engine = open_engine(settings())
    assert engine.get(Space.DATA, b"key") == b"value"
    engine.close()


def test_memory_beside_an_empty_folder_is_fine(settings):
    database_folder(settings()).mkdir(parents=True)

    open_engine(settings("memory")).close()


def test_the_log_is_where_it_is_configured(settings, tmp_path):
    written(settings())
    for folder in ("wal", str(tmp_path / "elsewhere")):
        configured = settings(dir=folder)
        engine = open_engine(configured)

        assert engine.get(Space.DATA, b"key") == b"value"
        assert list((tmp_path / "data" / folder).glob("*.log"))
        assert probes_of(configured)["wal"]().status.value == "healthy"
        engine.close()


@pytest.mark.parametrize("folder", ["images", "snapshots/wal", "./x/../images"])
def test_a_log_among_files_that_are_removed_is_refused(settings, folder):
    with pytest.raises(
        ConfigurationError, match=r"^storage\.wal\.dir: .* set it to a folder of its"
    ):
        open_engine(settings(dir=folder))
