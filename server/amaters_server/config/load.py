"""From file, environment and flags to settings, or to one clear line per fault.

The order of precedence is flags, environment, file, defaults.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from amaters_server.config import toml_file
from amaters_server.config.aliases import (
    Document,
    from_environment,
    modernise,
    put,
    value_of,
    withdraw_promises,
)
from amaters_server.config.faults import MOST_LINES, Fault, in_our_words, one_line, refusal
from amaters_server.config.keys import may_be_shown, nearest, unknown_keys
from amaters_server.config.settings import Settings, contradictions, doubts
from amaters_server.model.errors import ConfigurationError

DEFAULT_PATH = Path("./config.toml")

_PLACES = ("server", "network")
"""The tables with addresses and paths of a server."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of the settings; kept for the next reload."""

    path: Path = DEFAULT_PATH
    environment: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, object] = field(default_factory=dict)
    """Dotted key to value; for flags that were given."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Valid settings, and the notices about their sources."""

    settings: Settings
    notices: tuple[str, ...] = ()
    digest: str = ""
    """SHA-256 of the file's content in hexadecimal; empty when there is no file."""


def load(sources: Sources) -> Loaded:
    """Read all sources; ConfigurationError with one line per fault, each naming its key."""
    document, notices, digest = _of_file(sources.path)
    faults = withdraw_promises(document)
    notices += modernise(document)
    notices += from_environment(sources.environment, document)
    notices += _apply_flags(sources.flags, document)
    notices += _unknown(document)
    notices += _unused_credentials(document)
    settings = _checked(document, faults)
    return Loaded(settings, (*notices, *doubts(settings), *_unusable_files(settings)), digest)


def locate(sources: Sources) -> Settings:
    """Return only the addresses and paths of a server with this configuration.

    The rest may be invalid now, or complete only with the flags that the server was started with.
    """
    document, *_ = _of_file(sources.path)
    modernise(document)
    from_environment(sources.environment, document)
    _apply_flags(sources.flags, document)
    return _checked({name: document[name] for name in _PLACES if name in document}, [])


def _of_file(path: Path) -> tuple[Document, list[str], str]:
    """Return the content of the file; nothing when the default file does not exist."""
    try:
        content = toml_file.read(path)
    except FileNotFoundError:
        if path != DEFAULT_PATH:
            raise ConfigurationError(
                f"Configuration file not found: {path}: correct --config or AMATERS_CONFIG"
            ) from None
        return {}, [f"{path} does not exist: defaults are used"], ""
    return toml_file.parsed(path, content), [], hashlib.sha256(content).hexdigest()


def _unknown(document: Document) -> list[str]:
    keys = list(unknown_keys(document))
    notices = []
    for key in keys[:MOST_LINES]:
        meant = nearest(key)
        notice = f"{one_line(key)} is unknown and ignored"
        notices.append(notice + (f": did you mean {meant}?" if meant else ""))
    if len(keys) > MOST_LINES:
        notices.append(f"{len(keys) - MOST_LINES} more keys are unknown and ignored")
    return notices


def _unused_credentials(document: Document) -> list[str]:
    key = "snapshots.s3.endpoint_url"
    if "@" not in str(value_of(document, key)):
        return []
    instead = "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
    return [
        f"the user and password in {key} have no effect: those of the store come from {instead}"
    ]


def _unusable_files(settings: Settings) -> Iterator[str]:
    """Name the files of the webhook that cannot be read now."""
    alerts = settings.alerts
    for name, path in (
        ("webhook_url_file", alerts.webhook_url_file),
        ("webhook_token_file", alerts.webhook_token_file),
    ):
        if path is not None and not path.is_file():
            wrong = "is a folder" if path.is_dir() else "does not exist, or may not be read"
            yield f"alerts.{name}: {path} {wrong}: no alert is posted until it is a file"


def _apply_flags(flags: Mapping[str, object], document: Document) -> list[str]:
    notices = []
    for key, value in flags.items():
        if key.startswith("cluster.") and "cluster" not in document:
            notices.append(f"{key} is not used: this node is not configured as one of a cluster")
            continue
        put(document, key, value)
    return notices


def _checked(document: Document, faults: list[Fault]) -> Settings:
    try:
        settings = Settings.model_validate(document)
    except ValidationError as wrong:
        raise refusal([*faults, *map(_fault, wrong.errors())]) from None
    faults = [*faults, *contradictions(settings)]
    if faults:
        raise refusal(faults)
    return settings


def _fault(error: ErrorDetails) -> Fault:
    return in_our_words(error, shown=may_be_shown([str(part) for part in error["loc"]]))


def as_toml(settings: Settings) -> str:
    """Render the settings as TOML that loads into the same settings; secrets are masked."""
    return tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True))
