"""Where a database keeps its log: in its own folder, or in one of its own on another disk.

Two small files bind a separate folder to its database: `NAME.wal` beside the database names the
folder, and `OWNER` in the folder names the database. Without them, a changed setting would open the
database without its newest writes, and two databases could delete each other's logs.

A log is never moved. The database is opened with the old folder and flushed, so that no log is
needed any more; then the new folder is bound, and what is left in the old one is removed.
"""

import json
import logging
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amaters_server.model.errors import StorageError
from amaters_server.storage import small_file

_log = logging.getLogger(__name__)

_LOG = re.compile(r"\d+\.log")
_OWNER = "OWNER"


@dataclass(frozen=True, slots=True)
class _Binding:
    """A folder that is bound to a database, and the id that both know."""

    folder: Path
    id: str


class LogFolder:
    """The folder of one database's log; `wanted` is the configured one, None the database's own."""

    def __init__(self, database: Path, wanted: Path | None) -> None:
        self._database = database
        self._record = database.with_name(f"{database.name}.wal")
        self._binding = _read(self._record)
        self._wanted = database if wanted is None else wanted
        self._left: Path | None = None

    @property
    def separate(self) -> Path | None:
        """The folder in use, when it is not the database's own."""
        return None if self._binding is None else self._binding.folder

    @property
    def moves(self) -> bool:
        """Whether an existing database has to be flushed before the configured folder is used."""
        return self._used() != _plain(self._wanted) and (self._database / "CURRENT").exists()

    def files(self) -> Iterator[Path]:
        """Walk the files of the log in use."""
        return _logs(self._used())

    def require_present(self, *, accept_loss: bool) -> None:
        """Raise StorageError when the folder in use is away, or belongs to another database."""
        held = self._binding
        if held is None or _owner(held.folder) == held.id:
            return
        if not accept_loss:
            raise StorageError(
                f"the log of {self._database} is in {held.folder}, which is missing, or is not its "
                "own: mount the right disk there, or start with the same storage.wal.dir as before"
            )
        self._claim(held)

    def use_wanted(self) -> None:
        """Bind the configured folder; the one in use may hold nothing that is needed."""
        before, wanted = self._used(), _plain(self._wanted)
        if before == wanted:
            return
        if wanted == _plain(self._database):
            self._record.unlink(missing_ok=True)
            self._binding = None
        else:
            if wanted.is_relative_to(_plain(self._database)):
                raise StorageError(
                    f"storage.wal.dir {wanted} is inside the database's own folder: set it to "
                    "another folder, or remove it"
                )
            self._require_free(wanted)
            held = _Binding(wanted, secrets.token_hex(16))
            self._claim(held)
            self._bind(held)
        if before != _plain(self._database):
            self._left = before
        _log.info("storage.log_folder", extra={"before": str(before), "now": str(wanted)})

    def discard(self) -> None:
        """Remove the log in use: another database is to take the place of this one."""
        for path in self.files():
            path.unlink()

    def remove_leftovers(self) -> None:
        """Remove logs from where the log is no more, once the database is open without them."""
        if self.separate is not None:
            for path in _logs(self._database):
                path.unlink()
        if self._left is not None:
            for path in _logs(self._left):
                path.unlink()
            (self._left / _OWNER).unlink(missing_ok=True)
            self._left = None

    def _used(self) -> Path:
        return _plain(self.separate or self._database)

    def _require_free(self, folder: Path) -> None:
        """Raise StorageError for a folder that holds a log: it is not this database's."""
        if any(_logs(folder)):
            raise StorageError(
                f"{folder} holds the log of another database ({_named(folder)}): set "
                "storage.wal.dir to another folder, or empty this one if that database is gone"
            )

    def _claim(self, held: _Binding) -> None:
        held.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = {"id": held.id, "database": str(_plain(self._database))}
        small_file.write(held.folder / _OWNER, json.dumps(owner).encode())

    def _bind(self, held: _Binding) -> None:
        self._record.parent.mkdir(parents=True, exist_ok=True)
        record = {"id": held.id, "folder": str(held.folder)}
        small_file.write(self._record, json.dumps(record).encode())
        self._binding = held


def _plain(folder: Path) -> Path:
    return folder.resolve()


def _logs(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from [path for path in folder.iterdir() if _LOG.fullmatch(path.name)]


def _read(record: Path) -> _Binding | None:
    try:
        content = json.loads(record.read_bytes())
        return _Binding(Path(content["folder"]), str(content["id"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as wrong:
        raise StorageError(
            f"{record} is damaged, and says where the log of the database is: write "
            '{"folder": "FOLDER", "id": "…"} into it, with the id of OWNER in that folder'
        ) from wrong


def _owner(folder: Path) -> str | None:
    return _facts(folder).get("id")


def _named(folder: Path) -> str:
    return _facts(folder).get("database", "an unknown one")


def _facts(folder: Path) -> dict[str, str]:
    try:
        content = json.loads((folder / _OWNER).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
