"""From file, environment and flags to settings, or to one clear line per fault.

The order of precedence is flags, environment, file, defaults.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from amaters_server.config.aliases import Document, from_environment, modernise, put
from amaters_server.config.keys import nearest, section_of, unknown_keys
from amaters_server.config.settings import Fault, Settings, contradictions, doubts
from amaters_server.model.errors import ConfigurationError

DEFAULT_PATH = Path("./config.toml")

PUBLISHED_TEXTS = {
    "storage.engine": "Invalid storage engine: {value}. Must be 'memory' or 'lsm'",
    "logging.level": "Invalid log level: {value}. Must be trace, debug, info, warn or error",
    "authz.default_mode": (
        "Invalid authorization mode: {value}. Must be 'deny-by-default' or 'allow-by-default'"
    ),
}


PLAIN_TEXTS = {
    "model_type": "Input should be a table, in square brackets: [{key}]",
    "tuple_type": 'Input should be a list, in square brackets: ["…", "…"]',
}
"""What pydantic says in the words of Python, in those of TOML."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where settings come from; kept, so that a reload asks the same places again."""

    path: Path = DEFAULT_PATH
    environment: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, object] = field(default_factory=dict)
    """Dotted key to value; for flags that were given."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Valid settings, and what a person should know about how they came about."""

    settings: Settings
    notices: tuple[str, ...] = ()
    digest: str = ""
    """SHA-256 of the file's content in hexadecimal; empty when there is no file."""


def load(sources: Sources) -> Loaded:
    """Read all sources; ConfigurationError with one line per fault, each naming its key."""
    content = _read(sources.path)
    document, notices = _parsed(sources.path, content)
    notices += modernise(document)
    notices += from_environment(sources.environment, document)
    notices += _apply_flags(sources.flags, document)
    notices += [_unknown(key) for key in unknown_keys(document)]
    digest = "" if content is None else hashlib.sha256(content).hexdigest()
    settings = _checked(document)
    return Loaded(settings, (*notices, *doubts(settings)), digest)


def _unknown(key: str) -> str:
    meant = nearest(key)
    return f"{key} is unknown and ignored" + (f": did you mean {meant}?" if meant else "")


def _read(path: Path) -> bytes | None:
    """Return the file's content; None when it is not there and nobody asked for it by name."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if path != DEFAULT_PATH:
            raise ConfigurationError(f"Configuration file not found: {path}") from None
        return None
    except OSError as wrong:
        raise ConfigurationError(
            f"Configuration file {path} cannot be read: {wrong.strerror}"
        ) from wrong


def _parsed(path: Path, content: bytes | None) -> tuple[Document, list[str]]:
    if content is None:
        return {}, [f"{path} is not there: defaults are used"]
    try:
        return tomllib.loads(content.decode()), []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise ConfigurationError(f"Configuration file {path} is not TOML: {wrong}") from wrong


def _apply_flags(flags: Mapping[str, object], document: Document) -> list[str]:
    notices = []
    for key, value in flags.items():
        if key.startswith("cluster.") and "cluster" not in document:
            notices.append(f"{key} is not used: this node is not configured as one of a cluster")
            continue
        put(document, key, value)
    return notices


def _checked(document: Document) -> Settings:
    try:
        settings = Settings.model_validate(document)
    except ValidationError as wrong:
        raise _refusal([_fault(error) for error in wrong.errors()]) from None
    faults = contradictions(settings)
    if faults:
        raise _refusal(faults)
    return settings


def _refusal(faults: list[Fault]) -> ConfigurationError:
    lines = [f"Validation error: {fault.message} [{fault.key}]" for fault in faults]
    return ConfigurationError("\n".join(lines))


def _fault(error: ErrorDetails) -> Fault:
    names = [str(part) for part in error["loc"]]
    key = ".".join(names)
    text = PUBLISHED_TEXTS.get(key)
    if text is not None:
        return Fault(key, text.format(value=error["input"]))
    if error["type"] == "value_error":
        return Fault(key, str(error.get("ctx", {}).get("error", error["msg"])))
    said = PLAIN_TEXTS.get(error["type"], error["msg"]).format(key=key)
    if _is_secret(names):
        return Fault(key, said)
    return Fault(key, f"{said}, got {error['input']!r}")


def _is_secret(names: list[str]) -> bool:
    """Say whether that key holds what nobody may be shown, not even when it is wrong."""
    section: type[BaseModel] | None = Settings
    for name in names:
        known = None if section is None else section.model_fields.get(name)
        if known is None:
            return False
        if SecretStr in getattr(known.annotation, "__args__", (known.annotation,)):
            return True
        section = section_of(known.annotation)
    return False


def as_toml(settings: Settings) -> str:
    """Render the settings as TOML that loads into the same settings; secrets are masked."""
    return tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True))
