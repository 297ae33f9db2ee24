"""How a client names itself to servers that ask who calls: a token, an API key, or a file of one.

Sent with every call as metadata. Client certificates are part of TLS (`amaters.transport.tls`).
"""

import ipaddress
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from amaters.errors import ConfigurationError

Metadata = tuple[tuple[str, str | bytes], ...]

TOKEN_HEADER = "authorization"  # noqa: S105 - the name of a header
API_KEY_HEADER = "x-api-key"
"""The default of servers; `auth.api_key.header_name` is theirs."""

MOST_BYTES = 16 * 1024
LOOK_SECONDS = 1.0
"""How long a file's content is used before the client checks whether it has changed."""

_PRINTABLE = re.compile("[!-~]+")
_HEADER = re.compile("[a-z0-9_.-]+")


class Login(Protocol):
    """Credentials of a client; belongs to one event loop."""

    def metadata(self) -> Metadata:
        """Return what is sent with a call; ConfigurationError when it cannot be read."""
        ...

    @property
    def generation(self) -> int:
        """A number that changes with the credentials."""
        ...

    def renew(self) -> int:
        """Look for newer credentials now, and return their generation."""
        ...


@dataclass(frozen=True, slots=True)
class Token:
    """A token (JWT) that does not change; never printed."""

    text: str = field(repr=False)

    def __post_init__(self) -> None:
        _checked(self.text, "the token")

    def metadata(self) -> Metadata:
        """Return the header with the token."""
        return ((TOKEN_HEADER, f"Bearer {self.text}"),)

    @property
    def generation(self) -> int:
        """Always 0."""
        return 0

    def renew(self) -> int:
        """Return 0: there are no others."""
        return 0


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key; never printed."""

    text: str = field(repr=False)
    header: str = API_KEY_HEADER

    def __post_init__(self) -> None:
        _checked(self.text, "the API key")
        _checked_header(self.header)

    def metadata(self) -> Metadata:
        """Return the header with the key."""
        return ((self.header.lower(), self.text),)

    @property
    def generation(self) -> int:
        """Always 0."""
        return 0

    def renew(self) -> int:
        """Return 0: there are no others."""
        return 0


class _File:
    """Credentials in a file, read again when it changes, as projected tokens do."""

    def __init__(
        self, path: Path | str, header: Callable[[str], Metadata], now: Callable[[], float]
    ) -> None:
        self.path = Path(path)
        self._header = header
        self._now = now
        self._look_at = 0.0
        self._state: tuple[int, int, int] | None = None
        self._metadata: Metadata = ()
        self._generation = 0

    @property
    def generation(self) -> int:
        """How often the content has changed."""
        return self._generation

    def metadata(self) -> Metadata:
        """Return the header with the content; the file is checked once a second at most."""
        if not self._metadata or self._now() >= self._look_at:
            self.renew()
        return self._metadata

    def renew(self) -> int:
        """Read the file if it has changed; the last content counts while it cannot be read."""
        self._look_at = self._now() + LOOK_SECONDS
        try:
            found = self.path.stat()
            state = (found.st_ino, found.st_mtime_ns, found.st_size)
            if state != self._state:
                self._take(self._read(found.st_size))
                self._state = state
        except OSError as error:
            if not self._metadata:
                raise ConfigurationError(
                    f"{self.path} cannot be read ({error.strerror}): check the path and its rights"
                ) from error
        except ConfigurationError:
            # A file that is being written holds nothing for a moment.
            if not self._metadata:
                raise
        return self._generation

    def _read(self, size: int) -> str:
        if not self.path.is_file():
            raise ConfigurationError(f"{self.path} is no regular file: name a file")
        if size > MOST_BYTES:
            raise ConfigurationError(f"{self.path} is larger than {MOST_BYTES} bytes: check it")
        text = self.path.read_bytes().decode("ascii", errors="replace").strip()
        _checked(text, f"the content of {self.path}")
        return text

    def _take(self, text: str) -> None:
        metadata = self._header(text)
        if metadata != self._metadata:
            self._metadata = metadata
            self._generation += 1


class TokenFile(_File):
    """A file that holds a token, such as a projected ServiceAccount token."""

    def __init__(self, path: Path | str, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(path, lambda text: ((TOKEN_HEADER, f"Bearer {text}"),), now)


class ApiKeyFile(_File):
    """A file that holds an API key."""

    def __init__(
        self,
        path: Path | str,
        header: str = API_KEY_HEADER,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        name = _checked_header(header)
        super().__init__(path, lambda text: ((name, text),), now)


def may_send(address: str, *, secure: bool) -> bool:
    """Whether credentials may be sent there: over TLS, or without leaving this host."""
    host = address.rpartition(":")[0].strip("[]")
    if secure or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(text: str, what: str) -> str:
    if not _PRINTABLE.fullmatch(text) or len(text) > MOST_BYTES:
        raise ConfigurationError(
            f"{what} is no credential: it must be up to {MOST_BYTES} printable characters without "
            "spaces"
        )
    return text


def _checked_header(name: str) -> str:
    lowered = name.lower()
    if not _HEADER.fullmatch(lowered) or lowered.startswith("grpc-") or lowered.endswith("-bin"):
        raise ConfigurationError(
            f"{name!r} is no header of an API key: name the one that the servers are configured "
            f"with, such as {API_KEY_HEADER}"
        )
    return lowered
