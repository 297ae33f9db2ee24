"""The file of API keys, changed as a whole and for its owner alone."""

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from amaters_server.identity import api_keys, files
from amaters_server.model.errors import ConfigurationError

PREFIX = "amk_"
"""What keys begin with, so that scanners for leaked secrets recognise them."""
BY_GROUP = 0o640
"""The one mode besides 0600 that a file keeps."""


class ApiKeyFile:
    """One file; several processes may change it at the same time."""

    def __init__(self, path: Path, secret: bytes | None = None) -> None:
        """With a secret, new digests are HMACs."""
        # A link stays one: what it leads to is replaced.
        self._path = Path(os.path.realpath(path))
        self._secret = secret

    def create(
        self,
        name: str,
        roles: Sequence[str] = (),
        *,
        expires_at: str | None = None,
    ) -> tuple[str, str]:
        """Add a key, and return its id, and the key itself, which is stored nowhere.

        `expires_at` is RFC 3339.
        """
        try:
            api_keys.moment_of(expires_at)
        except ValueError as wrong:
            raise ConfigurationError(f"no key was created: {wrong}") from None
        key = PREFIX + secrets.token_urlsafe(32)
        entry: dict[str, object] = {
            "id": secrets.token_hex(6),
            "name": name,
            "key_hash": api_keys.hash_text(key, self._secret),
            "user_id": name,
            "roles": list(roles),
            "attributes": {},
        }
        if expires_at is not None:
            entry["expires_at"] = expires_at
        with self._changing() as entries:
            entries.append(entry)
        return str(entry["id"]), key

    def revoke(self, key_id: str) -> None:
        """Remove a key; ConfigurationError if there is none with that id."""
        with self._changing() as entries:
            kept = [entry for entry in entries if entry.get("id") != key_id]
            if len(kept) == len(entries):
                raise ConfigurationError(
                    f"{self._path} has no key {key_id}: `amaters-server api-key list` lists them"
                )
            entries[:] = kept

    def stored(self) -> tuple[api_keys.ApiKey, ...]:
        """Return what the file holds."""
        return self._checked(self._read())

    @contextmanager
    def _changing(self) -> Iterator[list[dict[str, object]]]:
        # The folder is locked, not the file: that one is replaced.
        try:
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as wrong:
            doing = f"{self._path} cannot be written"
            raise ConfigurationError.of_path(doing, wrong, "auth.api_key.keys_file") from wrong
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            entries = self._read()
            yield entries
            self._checked(entries)
            self._replace(json.dumps(entries, indent=2) + "\n", folder)
        finally:
            os.close(folder)

    def _checked(self, entries: Sequence[dict[str, object]]) -> tuple[api_keys.ApiKey, ...]:
        try:
            return api_keys.parsed(json.dumps(entries), hashed=True)
        except ValueError as wrong:
            raise ConfigurationError(f"{self._path}: {wrong}: correct the file") from None

    def _read(self) -> list[dict[str, object]]:
        try:
            if not os.path.lexists(self._path):
                return []
            return api_keys.entries_of(files.content("auth.api_key.keys_file", self._path))
        except ValueError as wrong:
            raise ConfigurationError(f"{self._path}: {wrong}: correct the file") from None

    def _replace(self, text: str, folder: int) -> None:
        new = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
                _give_to_readers(file.fileno(), self._path)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.rename(self._path)
            os.fsync(folder)
        except OSError as wrong:
            doing = f"{self._path} cannot be written"
            raise ConfigurationError.of_path(doing, wrong, "auth.api_key.keys_file") from wrong
        finally:
            with suppress(FileNotFoundError):
                new.unlink()


def _give_to_readers(file: int, path: Path) -> None:
    """Give the file to the user and group of the old one, or of the folder, as far as allowed.

    Root writes it for the server's user; the server may read it by its group.
    """
    old = (path if path.exists() else path.parent).stat()
    if os.geteuid() == 0:
        os.fchown(file, old.st_uid, old.st_gid)
    if stat.S_ISREG(old.st_mode) and stat.S_IMODE(old.st_mode) == BY_GROUP:
        with suppress(PermissionError):
            os.fchown(file, -1, old.st_gid)
        os.fchmod(file, BY_GROUP)
