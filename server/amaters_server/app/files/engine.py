"""The storage engine of these settings, and what is in its folder."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amaters_server import __version__
from amaters_server.app import from_settings
from amaters_server.config.settings import Settings
from amaters_server.model.errors import ConfigurationError, StorageFullError
from amaters_server.storage import data_format, set_aside, swap
from amaters_server.storage.engine import Engine
from amaters_server.storage.memory import MemoryEngine
from amaters_server.storage.migrations.carried_out import begin_new, migrate
from amaters_server.storage.migrations.known import DATABASE, MIGRATIONS
from amaters_server.storage.rocks.copied import copied
from amaters_server.storage.rocks.engine import RocksEngine

_OF_A_NEW_DATABASE = re.compile(r"LOCK|LOG(\.old.*)?|IDENTITY|(MANIFEST|OPTIONS)-\d+|.*\.dbtmp")


def open_engine(settings: Settings, *, accept_loss: bool = False) -> Engine:
    """Open the storage engine; blocks. StorageError when it is damaged or in use.

    StorageLostError when it holds less than was acknowledged, unless that was accepted.
    """
    folder = database_folder(settings)
    data_format.require_readable(settings.server.data_dir, __version__)
    _require_fitting(settings, folder)
    if settings.storage.engine == "memory":
        return MemoryEngine()
    folder.parent.mkdir(parents=True, exist_ok=True)
    tuning, log_folder = from_settings.tuning(settings.storage), from_settings.log_folder(settings)
    _require_apart(settings, log_folder)
    _bring_up_to_date(settings.server.data_dir, folder)
    return RocksEngine(folder, tuning, log_folder=log_folder, accept_loss=accept_loss)


@contextmanager
def examined_engine(settings: Settings) -> Iterator[Engine]:
    """Open a copy of the engine's files, whatever they lack; blocks."""
    data_format.require_readable(settings.server.data_dir, __version__)
    tuning = from_settings.tuning(settings.storage)
    with copied(database_folder(settings)) as folder:
        engine = RocksEngine(folder, tuning, compacts=False, accept_loss=True)
        try:
            yield engine
        finally:
            engine.close()


def _require_fitting(settings: Settings, folder: Path) -> None:
    """Raise ConfigurationError when this engine cannot use the content of the folder."""
    # A staged folder takes the place of whatever a crash has left of this one.
    staged = swap.is_staged(folder)
    file = folder.exists() and not folder.is_dir()
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if settings.storage.engine == "memory" and (staged or file or names):
        raise ConfigurationError(
            f'storage.engine is "memory", but {folder} holds a database, which would seem to be '
            'gone: set storage.engine to "lsm", or server.data_dir to an empty folder'
        )
    # Leftovers of an interrupted creation are no obstacle.
    foreign = "CURRENT" not in names and not all(map(_OF_A_NEW_DATABASE.fullmatch, names))
    if not staged and (file or foreign):
        raise ConfigurationError(
            f"{folder} is not empty and no database: restore the missing files, or set "
            "server.data_dir to another folder"
        )


def _bring_up_to_date(data_dir: Path, folder: Path) -> None:
    """Migrate what earlier versions have stored; a folder without data begins as the newest."""
    is_new = not (data_dir / data_format.FILE).exists() and not (folder / "CURRENT").exists()
    try:
        # A staged content replaces this one: it is of this version, and what it replaces was too.
        if is_new and not swap.is_staged(folder):
            begin_new(data_dir, MIGRATIONS, __version__)
        else:
            migrate(data_dir, MIGRATIONS, __version__)
    except OSError as wrong:
        doing = f"the data in {data_dir} cannot be marked or migrated"
        if wrong.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFullError(f"{doing}: {wrong.strerror}: make room on that disk") from wrong
        raise ConfigurationError.of_path(doing, wrong, "server.data_dir") from wrong


def _require_apart(settings: Settings, log_folder: Path | None) -> None:
    """Raise ConfigurationError when the log would be among files that are removed at times."""
    if log_folder is None:
        return
    transfers = from_settings.node_settings(settings).transfer_folder
    for folder in (transfers, settings.snapshot_folder):
        if log_folder.resolve().is_relative_to(folder.resolve()):
            raise ConfigurationError(
                f"storage.wal.dir: {log_folder} is in {folder}, where files are removed: set it to "
                "a folder of its own"
            )


def database_folder(settings: Settings) -> Path:
    """Return where the engine keeps its files."""
    return settings.server.data_dir / DATABASE


def own_folders(settings: Settings) -> list[Path]:
    """Return the files and folders in the data folder that only this server writes."""
    data_dir, snapshots = settings.server.data_dir, settings.snapshot_folder
    # What is beside the database's folder belongs to it: its marker, a folder to replace it.
    engine = sorted(data_dir.glob(f"{database_folder(settings).name}*"))
    form = data_dir / data_format.FILE
    aside = [data_dir / set_aside.FOLDER, data_dir / set_aside.REQUEST]
    made = [*engine, form, *aside, from_settings.node_settings(settings).transfer_folder]
    others = [one for one in (snapshots, from_settings.log_folder(settings)) if one is not None]
    return [*made, *(one for one in others if one.is_relative_to(data_dir))]
