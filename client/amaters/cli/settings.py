"""The settings of one call of `amaters-cli`: flags, environment, file, defaults, in that order."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from amaters.cli.config_file import FileSettings, load
from amaters.cli.flags import Flags, Format, checked_timeout, parse_format
from amaters.errors import ConfigurationError
from amaters.transport.addresses import checked_address, distinct_addresses
from amaters.transport.login import ApiKey, ApiKeyFile, Login, Token, TokenFile
from amaters.transport.tls import TlsFiles

DEFAULT_ADMIN_PORT = 7879


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, resolved."""

    servers: tuple[str, ...]
    admins: tuple[str, ...]
    collection: str
    format: Format
    color: bool
    tls: TlsFiles | None
    server_name: str
    login: Login | None
    plaintext_login: bool
    timeout: timedelta


def resolve(flags: Flags, *, environment: Mapping[str, str], file: Path) -> Settings:
    """Resolve every setting; ConfigurationError names an invalid one."""
    stored = load(file)
    server = flags.server or environment.get("AMATERS_SERVER_URL") or stored.server_url
    servers = distinct_addresses(server)
    admin = flags.admin or environment.get("AMATERS_ADMIN_ADDRESS") or stored.admin_address
    written = flags.format or environment.get("AMATERS_OUTPUT_FORMAT") or stored.output_format
    collection = environment.get("AMATERS_COLLECTION") or stored.default_collection
    color = environment.get("AMATERS_COLOR", str(stored.color)).lower() not in _NO
    wants_tls = any(one.startswith("https://") for one in servers)
    return Settings(
        servers=servers,
        admins=distinct_addresses(admin) if admin else beside(servers),
        collection=collection if flags.collection is None else flags.collection,
        format=parse_format(written),
        color=color and "NO_COLOR" not in environment,
        tls=_tls(flags, environment, stored, wanted=wants_tls),
        server_name=flags.server_name
        or environment.get("AMATERS_TLS_SERVER_NAME")
        or stored.tls.server_name,
        login=_login(flags, environment, stored),
        plaintext_login=flags.plaintext_login
        or environment.get("AMATERS_PLAINTEXT_LOGIN", "").lower() in _YES
        or stored.login.plaintext,
        timeout=checked_timeout(flags.timeout_seconds or stored.timeout_seconds),
    )


def beside(servers: tuple[str, ...]) -> tuple[str, ...]:
    """Return the default addresses of the servers' internal listeners."""
    hosts = (checked_address(one).rpartition(":")[0] for one in servers)
    return tuple(f"{host}:{DEFAULT_ADMIN_PORT}" for host in dict.fromkeys(hosts))


def default_file(environment: Mapping[str, str] | None = None) -> Path:
    """Return the default path of the configuration file."""
    found = os.environ if environment is None else environment
    home = found.get("HOME") or found.get("USERPROFILE")
    return (Path(home) if home else Path.home()) / ".amaters" / "config.toml"


_NO = {"false", "0", "no", "off", "never"}
_YES = {"true", "1", "yes", "on"}


def _login(flags: Flags, environment: Mapping[str, str], stored: FileSettings) -> Login | None:
    """Return who calls: as the flags say, or else the environment, or else the file."""
    kept = stored.login
    header = environment.get("AMATERS_API_KEY_HEADER") or kept.api_key_header
    ways = (
        (
            "the flags",
            _Ways(flags.token, flags.token_file, flags.api_key, flags.api_key_file),
        ),
        (
            "the environment",
            _Ways(
                environment.get("AMATERS_TOKEN"),
                _path(environment, "AMATERS_TOKEN_FILE"),
                environment.get("AMATERS_API_KEY"),
                _path(environment, "AMATERS_API_KEY_FILE"),
            ),
        ),
        (
            "the configuration file",
            _Ways(
                kept.token.get_secret_value(),
                kept.token_file,
                kept.api_key.get_secret_value(),
                kept.api_key_file,
            ),
        ),
    )
    for where, given in ways:
        found = given.logins(header)
        if len(found) > 1:
            raise ConfigurationError(
                f"{where} give more than one of token, token file, API key and API key file: "
                "choose one"
            )
        if found:
            return found[0]
    return None


@dataclass(frozen=True, slots=True)
class _Ways:
    """The ways to say who calls, at one place; empty and None are not given."""

    token: str | None
    token_file: Path | None
    api_key: str | None
    api_key_file: Path | None

    def logins(self, header: str) -> list[Login]:
        found: list[Login] = []
        if self.token:
            found.append(Token(self.token.strip()))
        if self.token_file is not None:
            found.append(TokenFile(self.token_file.expanduser()))
        if self.api_key:
            found.append(ApiKey(self.api_key.strip(), header))
        if self.api_key_file is not None:
            found.append(ApiKeyFile(self.api_key_file.expanduser(), header))
        return found


def _tls(
    flags: Flags, environment: Mapping[str, str], stored: FileSettings, *, wanted: bool
) -> TlsFiles | None:
    folder = _mounted(environment)
    files = TlsFiles(
        ca=flags.ca_cert or _path(environment, "AMATERS_CA_CERT") or folder.ca,
        certificate=flags.client_cert
        or _path(environment, "AMATERS_CLIENT_CERT")
        or folder.certificate,
        key=flags.client_key or _path(environment, "AMATERS_CLIENT_KEY") or folder.key,
    )
    asked = files != TlsFiles() or wanted
    if not asked and not stored.tls.enabled:
        return None
    kept = stored.tls
    return replace(
        files,
        ca=files.ca or kept.ca_cert,
        certificate=files.certificate or kept.client_cert,
        key=files.key or kept.client_key,
    )


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    value = environment.get(name)
    return Path(value).expanduser() if value else None


def _mounted(environment: Mapping[str, str]) -> TlsFiles:
    """Return the files of a mounted Secret; none without a CA among them."""
    folder = _path(environment, "AMATERS_TLS_DIR")
    if folder is None or not (folder / "ca.crt").is_file():
        return TlsFiles()
    return TlsFiles(folder / "ca.crt", folder / "tls.crt", folder / "tls.key")
