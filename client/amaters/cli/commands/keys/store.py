"""Key files in `~/.amaters/keys`: NAME.key, and NAME.json that describes it, as published.

Knows files, never what is in a key.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from amaters.cli.formatting import JsonValue, timestamp
from amaters.errors import ConfigurationError, InvalidRequestError, NotFoundError, RefusedError

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_KEY_TYPE = "client"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is known about a key file."""

    name: str
    created_at: datetime
    description: str
    size_bytes: int

    def facts(self) -> dict[str, JsonValue]:
        """Return it as published."""
        return {
            "name": self.name,
            "created_at": timestamp(self.created_at),
            "key_type": _KEY_TYPE,
            "description": self.description,
            "size_bytes": self.size_bytes,
        }


class KeyStore:
    """The folder of keys; readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Return the names of all keys."""
        return sorted(one.stem for one in self.folder.glob("*.key") if _NAME.fullmatch(one.stem))

    def find(self, name: str) -> StoredKey:
        """Return what is known about a key; NotFoundError when there is none of that name."""
        path = self._path(name)
        try:
            facts = path.stat()
        except OSError:
            known = ", ".join(self.names()) or "none"
            raise NotFoundError(
                f"there is no key {name!r} in {self.folder}: known: {known}"
            ) from None
        changed_at = datetime.fromtimestamp(int(facts.st_mtime), tz=UTC)
        described = self._described(name)
        try:
            created_at = datetime.fromisoformat(str(described["created_at"])).astimezone(UTC)
        except (KeyError, ValueError):
            created_at = changed_at
        return StoredKey(name, created_at, str(described.get("description") or ""), facts.st_size)

    def put(self, name: str, source: Path, description: str, *, now: datetime) -> StoredKey:
        """Copy a key file into the folder; RefusedError when the name is taken."""
        path = self._path(name)
        if path.exists():
            raise RefusedError(
                f"there is a key {name!r} already: delete it, or choose another name"
            )
        try:
            size = source.stat().st_size
            if not size:
                raise InvalidRequestError(f"{source} is empty: that is no key")
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _copy(source, path)
            made = StoredKey(name, now, description, size)
            text = json.dumps(made.facts(), indent=2) + "\n"
            (self.folder / f"{name}.json").write_text(text, encoding="utf-8")
        except OSError as error:
            raise _failed(error, source, path) from error
        return made

    def copy_out(self, name: str, target: Path) -> StoredKey:
        """Copy a key into a file that does not exist yet."""
        found = self.find(name)
        if target.exists():
            raise RefusedError(f"{target} exists already: name another file")
        try:
            _copy(self._path(name), target)
        except OSError as error:
            raise _failed(error, self._path(name), target) from error
        return found

    def remove(self, name: str) -> None:
        """Delete a key and its description."""
        self.find(name)
        path = self._path(name)
        try:
            path.unlink()
            (self.folder / f"{name}.json").unlink(missing_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be deleted ({error.strerror})") from error

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InvalidRequestError(
                f"{name!r} is no name of a key: use up to 64 letters, digits, '.', '_' and '-'"
            )
        # Not with_suffix: a name may have dots in it.
        return self.folder / f"{name}.key"

    def _described(self, name: str) -> dict[str, object]:
        try:
            found = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def _copy(source: Path, target: Path) -> None:
    """Copy into a new file, private to its owner and durable, under its name once complete."""
    draft = target.with_name(f"{target.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with source.open("rb") as origin:
        handle = os.open(draft, flags, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                shutil.copyfileobj(origin, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


def _failed(error: OSError, source: Path, target: Path) -> ConfigurationError:
    return ConfigurationError(f"cannot copy {source} to {target} ({error.strerror})")
