"""The configuration file `~/.amaters/config.toml`: read, checked, written, one key at a time."""

import tomllib
from pathlib import Path

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from amaters.channels import distinct_addresses
from amaters.errors import AmatersError, ConfigurationError, NotFoundError

TEMPLATE = """\
# amaters-cli. Flags and AMATERS_* variables of the environment come before what stands here.

# Where clients are served; several servers of one cluster are separated by commas.
server_url = "http://localhost:7878"
# The collection that commands work on.
default_collection = "default"
# table, json, yaml, ndjson or nul
output_format = "table"
color = true
# How long a call may take, all its attempts included.
timeout_seconds = 30
# The internal listener, for `cluster` and `admin`; empty: port 7879 on the hosts of server_url.
admin_address = ""

[tls]
enabled = false
# Whom to trust; without it, the system's certificate authorities.
# ca_cert = "/etc/amaters/tls/ca.crt"
# Who this client is, for servers that ask.
# client_cert = "/etc/amaters/tls/tls.crt"
# client_key = "/etc/amaters/tls/tls.key"
# The name to expect in the server's certificate, when it is not the host's.
# server_name = "demo.amaters.svc"
"""


class TlsSettings(BaseModel):
    """The `[tls]` table."""

    model_config = ConfigDict(frozen=True, extra="allow")

    enabled: bool = False
    ca_cert: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    server_name: str = ""


class FileSettings(BaseModel):
    """The whole file. Keys it does not know are kept, and named by `unknown_keys`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    server_url: str = "http://localhost:7878"
    default_collection: str = "default"
    output_format: str = "table"
    color: bool = True
    timeout_seconds: float = Field(default=30.0, gt=0)
    admin_address: str = ""
    default_key: str | None = None
    """Published and accepted; this client keeps no keys."""
    tls: TlsSettings = TlsSettings()

    @field_validator("server_url", "admin_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value:
            try:
                distinct_addresses(value)
            except AmatersError as error:
                raise ValueError(str(error)) from error
        return value

    def unknown_keys(self) -> list[str]:
        """Name what stands in the file and means nothing here."""
        return [*(self.model_extra or {}), *(f"tls.{one}" for one in self.tls.model_extra or {})]


def load(path: Path) -> FileSettings:
    """Read the file; one that does not exist is all defaults."""
    return check(read_tables(path), path)


def read_tables(path: Path) -> dict[str, object]:
    """Read the file's tables unchecked; ConfigurationError when it is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"cannot read {path} ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} is not TOML ({error}): correct that line, or start anew with "
            "`amaters-cli config init --force`"
        ) from error


def check(tables: dict[str, object], path: Path) -> FileSettings:
    """Check the tables; ConfigurationError has one line for each wrong key."""
    try:
        return FileSettings.model_validate(tables)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()
        )
        raise ConfigurationError(
            f"{path} has wrong values ({wrong}): correct them with `amaters-cli config set`"
        ) from error


def get_key(tables: dict[str, object], dotted: str) -> object:
    """Return the value under a dotted key; NotFoundError when the key means nothing."""
    value: object = tables
    for part in dotted.split("."):
        if not isinstance(value, dict) or part not in value:
            raise NotFoundError(
                f"there is no setting {dotted!r}: see them all with `amaters-cli config show`"
            )
        value = value[part]
    return value


def set_key(tables: dict[str, object], dotted: str, text: str) -> dict[str, object]:
    """Return the tables with one key changed; the text is TOML if it can be, else a string."""
    *folders, last = dotted.split(".")
    changed = dict(tables)
    place = changed
    for part in folders:
        inner = place.get(part, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{part!r} in {dotted!r} is a value, not a table")
        place[part] = inner = dict(inner)
        place = inner
    place[last] = _parsed(text)
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


def _parsed(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def as_toml(tables: dict[str, object]) -> str:
    """Spell tables in TOML."""
    return tomli_w.dumps(tables)


def require_known(dotted: str) -> None:
    """Refuse a key that no version of this program reads; NotFoundError names those there are."""
    known = [name for name in FileSettings.model_fields if name != "tls"]
    known += [f"tls.{name}" for name in TlsSettings.model_fields]
    if dotted not in known:
        raise NotFoundError(f"there is no setting {dotted!r}: choose one of {', '.join(known)}")
