"""The configuration file `~/.amaters/config.toml`: read, checked, written, one key at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from amaters.cli import toml_text
from amaters.cli.flags import checked_timeout, parse_format
from amaters.errors import AmatersError, ConfigurationError, NotFoundError
from amaters.transport.addresses import distinct_addresses

TEMPLATE = """\
# amaters-cli. Flags and AMATERS_* environment variables override this file.

# The client address; separate several servers of one cluster by commas.
server_url = "http://localhost:7878"
# The collection that commands work on.
default_collection = "default"
# table, json, yaml, ndjson or nul
output_format = "table"
color = true
# Seconds a call may take, all its attempts included.
timeout_seconds = 30
# The internal listener, for `cluster` and `admin`; empty: port 7879 on the hosts of server_url.
admin_address = ""

[tls]
enabled = false
# The CA to trust; without it, the system's certificate authorities.
# ca_cert = "/etc/amaters/tls/ca.crt"
# The client's certificate, for servers that ask for one.
# client_cert = "/etc/amaters/tls/tls.crt"
# client_key = "/etc/amaters/tls/tls.key"
# The name to expect in the server's certificate, when it is not the host's.
# server_name = "demo.amaters.svc"

# Who calls, for servers that ask: one of these. Files are read again when they change.
[login]
# token_file = "/var/run/secrets/amaters/token"
# token = ""
# api_key_file = "/etc/amaters/api-key"
# api_key = ""
# The header of API keys, when the servers are configured with another.
# api_key_header = "x-api-key"
# Send them without TLS, too: anyone on the way can read and use them.
plaintext = false
"""


LONGEST_SHOWN = 80
SECRETS = ("login.token", "login.api_key")
"""Keys whose values are never printed."""


T = TypeVar("T")


def _passing(check: Callable[[T], object]) -> AfterValidator:
    """Turn a check of the program into a validator of pydantic."""

    def checked(value: T) -> T:
        try:
            check(value)
        except AmatersError as error:
            raise ValueError(str(error)) from error
        return value

    return AfterValidator(checked)


def _perhaps_empty(text: str) -> None:
    if text:
        distinct_addresses(text)


def _path_or_none(value: object) -> object:
    return None if value == "" else value


OptionalPath = Annotated[Path | None, BeforeValidator(_path_or_none)]


class TlsSettings(BaseModel):
    """The `[tls]` table."""

    model_config = ConfigDict(frozen=True, extra="allow")

    enabled: bool = False
    ca_cert: OptionalPath = None
    client_cert: OptionalPath = None
    client_key: OptionalPath = None
    server_name: str = ""


class LoginSettings(BaseModel):
    """The `[login]` table; secrets in it are never printed."""

    model_config = ConfigDict(frozen=True, extra="allow")

    token: SecretStr = SecretStr("")
    token_file: OptionalPath = None
    api_key: SecretStr = SecretStr("")
    api_key_file: OptionalPath = None
    api_key_header: Annotated[str, Field(min_length=1)] = "x-api-key"
    plaintext: bool = False


class FileSettings(BaseModel):
    """The whole file. Unknown keys are kept, and `unknown_keys` names them.

    All checks are here: a value that may be written may be read.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    server_url: Annotated[str, _passing(distinct_addresses)] = "http://localhost:7878"
    default_collection: Annotated[str, Field(min_length=1)] = "default"
    output_format: Annotated[str, _passing(parse_format)] = "table"
    color: bool = True
    timeout_seconds: Annotated[float, _passing(checked_timeout)] = 30.0
    admin_address: Annotated[str, _passing(_perhaps_empty)] = ""
    default_key: str | None = None
    """Published, accepted and unused."""
    tls: TlsSettings = TlsSettings()
    login: LoginSettings = LoginSettings()

    def unknown_keys(self) -> list[str]:
        """Name the unknown keys in the file."""
        return [
            *(self.model_extra or {}),
            *(f"tls.{one}" for one in self.tls.model_extra or {}),
            *(f"login.{one}" for one in self.login.model_extra or {}),
        ]


def load(path: Path) -> FileSettings:
    """Read the file; without a file, return the defaults."""
    tables = toml_text.read(path)
    wrong = faults(tables)
    if wrong:
        reasons = "; ".join(f"{key}: {reason}" for key, reason in wrong.items())
        raise ConfigurationError(
            f"{path} has wrong values ({reasons}): correct them with `amaters-cli config set`"
        )
    return FileSettings.model_validate(tables)


def faults(tables: toml_text.Tables) -> dict[str, str]:
    """Return what is wrong, by dotted key."""
    try:
        FileSettings.model_validate(tables)
    except ValidationError as error:
        return {
            ".".join(str(part) for part in one["loc"]): one["msg"].removeprefix("Value error, ")
            for one in error.errors()
        }
    return {}


def get_key(tables: dict[str, object], dotted: str) -> object:
    """Return the value of a dotted key; NotFoundError when the key is unknown."""
    value: object = tables
    for part in dotted.split("."):
        if not isinstance(value, dict) or part not in value:
            raise NotFoundError(
                f"there is no setting {dotted!r}: see them all with `amaters-cli config show`"
            )
        value = value[part]
    return value


def set_key(tables: toml_text.Tables, dotted: str, text: str) -> toml_text.Tables:
    """Return the tables with one key changed; ConfigurationError when the value is invalid.

    The text is TOML where that can be the value, and otherwise the value itself.
    """
    reason = ""
    for value in _meanings(text):
        changed = _changed(tables, dotted, value)
        reason = reason or faults(changed).get(dotted, "")
        if dotted not in faults(changed):
            return changed
    shown = repr(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…")
    if dotted in SECRETS:
        shown = "that"
    raise ConfigurationError(f"{dotted} cannot be {shown}: {reason}. Nothing was changed")


def _meanings(text: str) -> Iterator[object]:
    try:
        tables = toml_text.parsed(f"value = {text}")
    except ValueError:
        tables = {}
    if list(tables) == ["value"]:
        yield tables["value"]
    yield text


def _changed(tables: toml_text.Tables, dotted: str, value: object) -> toml_text.Tables:
    *folders, last = dotted.split(".")
    changed = dict(tables)
    place = changed
    for part in folders:
        inner = place.get(part, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{part!r} in {dotted!r} is a value, not a table")
        place[part] = inner = dict(inner)
        place = inner
    place[last] = value
    return changed


def write(path: Path, tables: dict[str, object]) -> None:
    """Replace the file as a whole; readable by its owner only."""
    write_text(path, tomli_w.dumps(tables))


def write_text(path: Path, text: str) -> None:
    """Replace the file as a whole; readable by its owner only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".new")
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o600)
        draft.replace(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path} ({error.strerror})") from error


def as_toml(tables: dict[str, object]) -> str:
    """Encode tables in TOML."""
    return tomli_w.dumps(tables)


def require_known(dotted: str) -> None:
    """Refuse an unknown key; NotFoundError names the known ones."""
    known = [name for name in FileSettings.model_fields if name not in ("tls", "login")]
    known += [f"tls.{name}" for name in TlsSettings.model_fields]
    known += [f"login.{name}" for name in LoginSettings.model_fields]
    if dotted not in known:
        raise NotFoundError(f"there is no setting {dotted!r}: choose one of {', '.join(known)}")
