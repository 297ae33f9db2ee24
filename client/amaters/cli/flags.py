"""The program's global flags, and the checks of their values. Imports next to nothing."""

import enum
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from amaters.errors import ConfigurationError

LONGEST_TIMEOUT_SECONDS = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of the command line; None where a flag was not given."""

    server: str | None = None
    admin: str | None = None
    collection: str | None = None
    format: str | None = None
    ca_cert: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    server_name: str | None = None
    token: str | None = None
    token_file: Path | None = None
    api_key: str | None = None
    api_key_file: Path | None = None
    plaintext_login: bool = False
    timeout_seconds: float | None = None


class Format(enum.Enum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NDJSON = "ndjson"
    NUL = "nul"


def parse_format(name: str) -> Format:
    """Return the format of that name, in any case; `yml` is `yaml`."""
    lowered = name.lower()
    try:
        return Format("yaml" if lowered == "yml" else lowered)
    except ValueError as error:
        known = ", ".join(one.value for one in Format)
        raise ConfigurationError(f"{name!r} is no output format: choose one of {known}") from error


def checked_timeout(seconds: float) -> timedelta:
    """Return it as a duration; ConfigurationError when no clock can hold it."""
    if not 0 < seconds <= LONGEST_TIMEOUT_SECONDS:  # NaN fails both comparisons.
        raise ConfigurationError(
            f"a timeout of {seconds} s cannot be kept: choose one of at most "
            f"{LONGEST_TIMEOUT_SECONDS} s"
        )
    return timedelta(seconds=seconds)
