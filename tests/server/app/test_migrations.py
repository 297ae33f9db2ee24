"""A data folder of an earlier version is migrated, whenever it is killed; of a later one refused."""

import json
import tarfile
from pathlib import Path

import pytest
from amaters_server.app.files import engine as files
from amaters_server.app.files.engine import open_engine
from amaters_server.config.settings import Settings
from amaters_server.machine import state
from amaters_server.model.errors import StorageError, StorageFullError, StorageLostError
from amaters_server.storage import data_format, durable_mark, small_file
from amaters_server.storage.data_format import FORMAT, DataForm
from amaters_server.storage.durable_mark import DurableMark
from amaters_server.storage.engine import Space
from amaters_server.storage.manifest import NO_MANIFEST
from amaters_server.storage.migrations.carried_out import migrate
from amaters_server.storage.migrations.known import MIGRATIONS
from amaters_server.storage.migrations.registry import Migration, MigrationRegistry

EARLIER = Path(__file__).parent / "earlier" / "data-before-format.tar.gz"
"""Made by a server of before the format was named: 40 orders were set, and it was killed: 39 are
in the state, and the last one is in the log.

    unshare -n amaters-server start -c CONFIG    # [storage] memtable_size_mb = 1
    for i in 0..39: client.collection("orders").set(b"key-%03d" % i, b"value-%03d" % i)
"""


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    with tarfile.open(EARLIER) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def settings(data) -> Settings:
    return Settings.model_validate({"server": {"data_dir": str(data)}})


def mark_of(data: Path) -> durable_mark.Mark:
    mark = DurableMark(data / "db.durable")
    held = mark.get()
    mark.close()
    assert held is not None
    return held


def test_the_data_of_the_previous_version_opens_and_is_migrated(data, settings, caplog):
    assert (data / "db.durable").read_bytes().startswith(b"AMD1")
    assert not (data / data_format.FILE).exists()

    engine = open_engine(settings)

    values = [engine.get(Space.DATA, b"\0\x06orderskey-%03d" % number) for number in range(39)]
    assert all(
        value is not None and b"value-%03d" % number in value for number, value in enumerate(values)
    )
    assert state.load(engine).index == 43
    engine.close()
    assert data_format.found(data).revision == MIGRATIONS.newest
    assert mark_of(data).manifest != NO_MANIFEST
    names = [one.migration for one in caplog.records if one.message == "data.migrated"]
    assert names == ["name_the_format", "name_the_manifest"]


def test_the_migrated_mark_guards_the_manifest_from_the_first_start(data, settings):
    migrate(data, MIGRATIONS, "1.0.0")
    (manifest,) = (data / "db").glob("MANIFEST-*")
    manifest.write_bytes(manifest.read_bytes()[:-20])

    with pytest.raises(StorageLostError, match="its manifest is cut"):
        open_engine(settings)


def test_migrated_data_is_not_migrated_again(data, settings, caplog):
    open_engine(settings).close()
    before = (data / data_format.FILE).read_bytes()
    caplog.clear()

    open_engine(settings).close()

    assert not caplog.records
    assert (data / data_format.FILE).read_bytes() == before


def test_a_version_before_revisions_still_reads_migrated_data(data):
    """It looks at `format` and `written_by`, and refuses formats above 1."""
    migrate(data, MIGRATIONS, "1.0.0")

    content = json.loads((data / data_format.FILE).read_text())
    assert content["format"] == 1
    assert content["written_by"] == "1.0.0"


def test_the_file_of_a_version_before_revisions_is_of_the_first(data):
    (data / data_format.FILE).write_text(json.dumps({"format": 1, "written_by": "0.3.0"}))

    assert data_format.found(data) == DataForm(1, "0.3.0", 1)
    migrate(data, MIGRATIONS, "1.0.0")
    assert mark_of(data).manifest != NO_MANIFEST


class Killed(BaseException):
    """As if by SIGKILL."""


@pytest.fixture
def killed_at(monkeypatch):
    """Kill at the given durable write, counted over all files that a migration writes."""
    left = [0]

    def watched(original):
        def write(*arguments, **more):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return original(*arguments, **more)

        return write

    monkeypatch.setattr(small_file, "sync", watched(small_file.sync))
    monkeypatch.setattr(small_file, "sync_folder", watched(small_file.sync_folder))
    monkeypatch.setattr(DurableMark, "put", watched(DurableMark.put))

    def at(number: int) -> None:
        left[0] = number

    return at


@pytest.mark.parametrize("moment", range(1, 10))
def test_a_migration_that_is_killed_goes_on_at_the_next_start(
    data, settings, killed_at, moment, caplog
):
    killed_at(moment)
    with pytest.raises(Killed):
        migrate(data, MIGRATIONS, "1.0.0")
    caplog.clear()

    engine = open_engine(settings)

    assert engine.get(Space.DATA, b"\0\x06orderskey-038") is not None
    engine.close()
    assert data_format.found(data).revision == MIGRATIONS.newest
    assert data_format.found(data).migrating_to is None
    assert mark_of(data).manifest != NO_MANIFEST


def test_the_moments_above_are_all_there_are(data, killed_at):
    killed_at(10)

    migrate(data, MIGRATIONS, "1.0.0")


def later(folder: Path) -> None:
    """A migration that no earlier version can read: doubles every line, one after another."""
    path = folder / "lines"
    done = [line + line if len(line) == 1 else line for line in path.read_text().split()]
    small_file.write(path, "\n".join(done).encode())


BREAKING = MigrationRegistry(
    (
        *(MIGRATIONS.get(number) for number in (1, 2)),
        Migration(3, "double_lines", later, needs=FORMAT + 1),
    )
)


@pytest.mark.parametrize("moment", range(1, 16))
def test_data_that_is_half_of_a_later_format_is_refused_by_this_version(
    data, settings, killed_at, moment, monkeypatch
):
    (data / "lines").write_text("a\nb")
    killed_at(moment)
    with pytest.raises(Killed):
        migrate(data, BREAKING, "9.0.0")

    begun = (data / "lines").read_text() != "a\nb"
    if begun or data_format.found(data).format > FORMAT:
        with pytest.raises(StorageError, match=r"has format 2, written by version 9\.0\.0"):
            open_engine(settings)
    else:
        open_engine(settings).close()
    migrate(data, BREAKING, "9.0.0")
    assert (data / "lines").read_text().split() == ["aa", "bb"]
    assert data_format.found(data) == DataForm(FORMAT + 1, "9.0.0", 3)


def test_a_step_that_is_impossible_says_so_and_leaves_the_last_whole_one(
    data, settings, monkeypatch
):
    def full(_):
        raise OSError(28, "No space left on device")

    broken = MigrationRegistry((MIGRATIONS.get(1), Migration(2, "full", full)))
    monkeypatch.setattr(files, "MIGRATIONS", broken)

    with pytest.raises(StorageFullError, match="make room on that disk"):
        open_engine(settings)
    assert data_format.found(data).revision == 1
    assert data_format.found(data).migrating_to == 2

    monkeypatch.undo()
    open_engine(settings).close()
    assert data_format.found(data).revision == MIGRATIONS.newest


def test_a_later_revision_of_the_same_format_is_read_and_left_alone(data, settings):
    form = DataForm(FORMAT, "9.0.0", MIGRATIONS.newest + 5)
    data_format.write(data, form)

    open_engine(settings).close()

    assert data_format.found(data) == form


# --- the registry -----------------------------------------------------------------------------


def nothing(_: Path) -> None:
    pass


def test_a_registry_finds_what_was_registered_and_nothing_else():
    registry = MigrationRegistry()
    assert (registry.newest, registry.format, registry.get(1)) == (0, 1, None)
    first, second = Migration(1, "first", nothing), Migration(2, "second", nothing, needs=4)
    registry.register(first)
    registry.register(second)

    assert registry.get(1) is first
    assert registry.get(3) is None
    assert registry.format == 4
    assert registry.pending(0) == [first, second]
    assert registry.pending(1) == [second]
    assert registry.pending(7) == []


@pytest.mark.parametrize(
    ("migration", "says"),
    [
        (Migration(3, "gap", nothing, needs=2), "the next one is 2"),
        (Migration(1, "again", nothing, needs=2), "the next one is 2"),
        (Migration(2, "lower", nothing, needs=1), "lowers the format"),
    ],
)
def test_a_chain_has_no_gap_and_never_lowers_the_format(migration, says):
    with pytest.raises(ValueError, match=says):
        MigrationRegistry((Migration(1, "first", nothing, needs=2), migration))


def test_the_format_of_this_version_is_the_one_its_migrations_lead_to():
    assert MIGRATIONS.format == FORMAT
