"""Every key of the reference changes what is built, or is refused, or is named in a notice.

A server is composed from two configurations that differ in one key, and everything that the two
consist of is compared: a key is proven when that differs. The others are refused, or noticed. A key
that no table proves fails the test, and so does a row that proves nothing.
"""

import asyncio
import base64
import contextlib
import enum
import functools
import hashlib
import json
import os
import re
import types
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath

import pytest
import tomli_w
from amaters_server.app import from_settings
from amaters_server.app.cli import main
from amaters_server.app.clock import ProcessClock
from amaters_server.app.composition import listeners
from amaters_server.app.composition.server import compose
from amaters_server.app.composition.tracing import Traces
from amaters_server.app.files import engine as engine_files
from amaters_server.app.files.data_folder import DataFolder
from amaters_server.app.reload import Reloading
from amaters_server.app.security.protection import protection_of
from amaters_server.config.aliases import Document, put
from amaters_server.config.keys import section_of
from amaters_server.config.load import Loaded, Sources, load
from amaters_server.config.reloadable import difference, merged, takes_effect
from amaters_server.config.security.protection import IGNORED
from amaters_server.config.settings import Settings
from amaters_server.model.errors import ConfigurationError
from amaters_server.model.principal import Principal, PrincipalKind
from amaters_server.rpc.transport.tls import Certificates
from amaters_server.storage.memory import MemoryEngine
from amaters_server.telemetry.feed import Feed
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[3]
OTHER = object()
"""Another value than the default, of the same kind."""


@dataclass(frozen=True)
class Row:
    """A value of a key, and the other keys with which it has an effect."""

    value: object = OTHER
    given: Mapping[str, object] = field(default_factory=dict)
    also: Mapping[str, object] = field(default_factory=dict)
    """Keys that cannot be set without it."""
    where: str = ""
    """The part that has to change, when the key shows in another one too."""
    named: str = ""
    """The key that its fault names, when that is another one."""


CLUSTER = {"cluster.peers": ["1:a:7001", "2:b:7002", "3:c:7003"], "cluster.node_id": 1}
ADVERTISED = {"cluster.peers": ["1:a:7001", "2:b:7002", "3:c:7003"]}
TLS = {"network.tls_cert": "cert", "network.tls_key": "key"}
CLUSTER_TLS = {**CLUSTER, **TLS, "network.tls_ca": "ca"}
LOG_FILE = {"logging.file_enabled": True, "logging.file_path": "log"}
WEBHOOK = {"alerts.webhook_url": "http://a/"}
PLACE = {"snapshots.destination": "s3://b/p"}
GATEWAY = {"gateway.enabled": True}
SECRET = "s" * 64
JWT = {"auth.enabled": True, "auth.methods": ["jwt"], "auth.jwt.enabled": True}
HS256 = {**JWT, "auth.jwt.secret": SECRET}
KUBERNETES = {
    "auth.enabled": True,
    "auth.methods": ["kubernetes"],
    "auth.kubernetes.enabled": True,
    "auth.kubernetes.audience": "db",
    "auth.kubernetes.roles": {"system:serviceaccount:a:b": ["user"]},
}
API_KEY = {
    "auth.enabled": True,
    "auth.methods": ["api_key"],
    "auth.api_key.enabled": True,
    "auth.api_key.keys_file": "keys.json",
}
MTLS = {
    **TLS,
    "network.tls_ca": "ca.pem",
    "network.require_client_cert": True,
    "auth.enabled": True,
    "auth.mtls.enabled": True,
}
AUDIT_FILE = {**HS256, "authz.audit_log_path": "audit.log"}

BUILT: Mapping[str, Row] = {
    "server.bind_address": Row("127.0.0.1:1"),
    "server.data_dir": Row("elsewhere", where="rest.'engine'"),
    "server.pid_file": Row("other.pid", where="rest.'status'"),
    "server.max_connections": Row(),
    "server.shutdown_timeout_secs": Row(),
    "storage.engine": Row("memory"),
    "storage.memtable_size_mb": Row(),
    "storage.min_free_mb": Row(1),
    "storage.block_cache_size_mb": Row(),
    "storage.wal.dir": Row("wal", where="rest.'engine'"),
    "storage.wal.sync_mode": Row("none"),
    "storage.wal.sync_interval_ms": Row(OTHER, {"storage.wal.sync_mode": "interval"}),
    "storage.compaction.strategy": Row("tiered"),
    "storage.compaction.num_levels": Row(),
    "storage.compaction.level_multiplier": Row(),
    "storage.compaction.max_concurrent": Row(),
    "network.max_message_bytes": Row(),
    "network.tls_enabled": Row(True, also=TLS),
    "network.tls_cert": Row("other", TLS),
    "network.tls_key": Row("other", TLS),
    "network.tls_ca": Row("ca", TLS),
    "network.require_client_cert": Row(True, {**TLS, "network.tls_ca": "ca"}),
    "network.connection_timeout_secs": Row(),
    "network.keepalive_interval_secs": Row(),
    "network.reflection": Row(),
    "cluster.enabled": Row(False, CLUSTER),
    "cluster.node_id": Row(2, CLUSTER),
    "cluster.name": Row("n", CLUSTER),
    "cluster.peers": Row(["1:a:7001"], CLUSTER),
    "cluster.join": Row(["d:1"], CLUSTER),
    "cluster.bind_address": Row("127.0.0.1:1", CLUSTER),
    "cluster.advertise_address": Row(
        "c:7003", {**ADVERTISED, "cluster.advertise_address": "a:7001"}
    ),
    "cluster.client_advertise_address": Row("c:1", CLUSTER),
    "cluster.token": Row("t", CLUSTER),
    "cluster.heartbeat_interval_ms": Row(50, CLUSTER),
    "cluster.election_timeout_ms": Row(600, CLUSTER),
    "cluster.log_retention_entries": Row(OTHER, CLUSTER),
    "cluster.log_retention_mb": Row(OTHER, CLUSTER),
    "cluster.snapshot_rate_limit_mb": Row(OTHER, CLUSTER),
    "cluster.tls_cert": Row(
        "other", {**CLUSTER_TLS, "cluster.tls_cert": "c", "cluster.tls_key": "k"}
    ),
    "cluster.tls_key": Row(
        "other", {**CLUSTER_TLS, "cluster.tls_cert": "c", "cluster.tls_key": "k"}
    ),
    "cluster.tls_ca": Row("other", CLUSTER_TLS),
    "cluster.admin_principals": Row(["operator"], CLUSTER_TLS),
    "snapshots.dir": Row("elsewhere"),
    "snapshots.destination": Row("/d"),
    "snapshots.allowed_destinations": Row(["/d"]),
    "snapshots.keep_local": Row(),
    "cache.enabled": Row(True),
    "cache.max_entries": Row(7, {"cache.enabled": True}),
    "cache.max_mb": Row(7, {"cache.enabled": True}),
    "snapshots.s3.endpoint_url": Row("http://e", PLACE),
    "snapshots.s3.region": Row("r", PLACE),
    "snapshots.s3.addressing_style": Row("path", PLACE),
    "snapshots.s3.server_side_encryption": Row("AES256", PLACE),
    "snapshots.s3.kms_key_id": Row(
        "k", {**PLACE, "snapshots.s3.server_side_encryption": "aws:kms"}
    ),
    "snapshots.s3.role_arn": Row("r", PLACE),
    "snapshots.s3.web_identity_token_file": Row("/t", PLACE),
    "snapshots.s3.sts_endpoint_url": Row("http://e", PLACE),
    "snapshots.s3.ca_file": Row("/c", PLACE),
    "snapshots.s3.credentials_dir": Row("/c", PLACE),
    "logging.level": Row("debug"),
    "logging.format": Row("json"),
    "logging.file_enabled": Row(True, {"logging.file_path": "log"}),
    "logging.file_path": Row("other", LOG_FILE),
    "logging.rotation.enabled": Row(OTHER, LOG_FILE),
    "logging.rotation.max_size_mb": Row(OTHER, LOG_FILE),
    "logging.rotation.max_backups": Row(OTHER, LOG_FILE),
    "logging.rotation.interval": Row("daily", LOG_FILE),
    "logging.rotation.compress": Row(OTHER, LOG_FILE),
    "telemetry.requests.mode": Row("all"),
    "telemetry.requests.sample_ratio": Row(0.5, {"telemetry.requests.mode": "sampled"}),
    "telemetry.requests.slow_ms": Row(),
    "telemetry.tracing.enabled": Row(True),
    "telemetry.tracing.endpoint": Row("http://h/", {"telemetry.tracing.enabled": True}),
    "telemetry.tracing.sample_ratio": Row(0.5, {"telemetry.tracing.enabled": True}),
    "telemetry.tracing.service_name": Row("other", {"telemetry.tracing.enabled": True}),
    "metrics.enabled": Row(),
    "metrics.bind_address": Row("127.0.0.1:1"),
    "metrics.export_interval_secs": Row(),
    "alerts.enabled": Row(),
    "alerts.node_failed_after_ms": Row(),
    "alerts.planned_stop_secs": Row(),
    "alerts.start_secs": Row(),
    "alerts.slow_replication_entries": Row(),
    "alerts.slow_replication_secs": Row(),
    "alerts.dedup_window_secs": Row(),
    "alerts.webhook_url": Row("http://a/"),
    "alerts.webhook_url_file": Row("url"),
    "alerts.webhook_token_file": Row("token", WEBHOOK),
    "alerts.webhook_timeout_ms": Row(OTHER, WEBHOOK),
    "alerts.webhook_attempts": Row(OTHER, WEBHOOK),
    "auth.enabled": Row(True, also=HS256),
    "auth.reject_unauthenticated": Row(OTHER, HS256),
    "auth.failures_per_minute": Row(OTHER, HS256),
    "auth.mtls.enabled": Row(
        True, {**MTLS, **HS256, "auth.methods": ["jwt", "mtls"], "auth.mtls.enabled": False}
    ),
    "auth.mtls.ca_certs_dir": Row("authorities", MTLS),
    "auth.mtls.crl_path": Row("crl.pem", MTLS),
    "auth.mtls.verify_cn": Row(OTHER, MTLS),
    "auth.mtls.allowed_organizations": Row(["o"], MTLS),
    "auth.mtls.allowed_principals": Row(["p"], MTLS),
    "auth.mtls.mapper": Row("organization", MTLS),
    "auth.mtls.roles": Row({"p": ["reader"]}, MTLS),
    "auth.jwt.enabled": Row(
        True, {**HS256, **API_KEY, "auth.methods": ["api_key", "jwt"], "auth.jwt.enabled": False}
    ),
    "auth.jwt.secret": Row("t" * 64, HS256),
    "auth.jwt.secret_file": Row("other-secret", {**JWT, "auth.jwt.secret_file": "secret"}),
    "auth.jwt.public_key_path": Row("rsa.pem", HS256),
    "auth.jwt.ec_public_key_path": Row("ec.pem", HS256),
    "auth.jwt.ed_public_key_path": Row("ed.pem", HS256),
    "auth.jwt.jwks": Row("JWKS", HS256),
    "auth.jwt.jwks_file": Row("jwks.json", HS256),
    "auth.jwt.jwks_url": Row("https://issuer/keys", HS256),
    "auth.jwt.algorithm": Row("HS512", HS256),
    "auth.jwt.algorithms": Row(["HS256", "HS384"], HS256),
    "auth.jwt.issuer": Row("i", HS256),
    "auth.jwt.audience": Row("a", HS256),
    "auth.jwt.leeway_secs": Row(OTHER, HS256),
    "auth.jwt.roles_claim": Row("groups", HS256),
    "auth.kubernetes.enabled": Row(
        True,
        {
            **KUBERNETES,
            **HS256,
            "auth.methods": ["jwt", "kubernetes"],
            "auth.kubernetes.enabled": False,
        },
    ),
    "auth.kubernetes.audience": Row("other", KUBERNETES),
    "auth.kubernetes.issuer": Row("https://other", KUBERNETES),
    "auth.kubernetes.roles": Row({"system:serviceaccount:a:c": ["user"]}, KUBERNETES),
    "auth.kubernetes.jwks": Row("JWKS", KUBERNETES),
    "auth.kubernetes.jwks_file": Row("jwks.json", KUBERNETES),
    "auth.kubernetes.jwks_url": Row("https://other/keys", KUBERNETES),
    "auth.kubernetes.token_file": Row("token", KUBERNETES),
    "auth.kubernetes.ca_file": Row("ca", KUBERNETES),
    "auth.api_key.enabled": Row(
        True,
        {**API_KEY, **HS256, "auth.methods": ["jwt", "api_key"], "auth.api_key.enabled": False},
    ),
    "auth.api_key.keys_file": Row("other-keys.json", API_KEY),
    "auth.api_key.further_keys_files": Row(["further.json"], API_KEY),
    "auth.api_key.header_name": Row("X-Other", API_KEY),
    "auth.api_key.hmac_secret_file": Row("secret", API_KEY),
    "authz.enabled": Row(False, HS256),
    "authz.default_role": Row("reader", HS256),
    "authz.anonymous_role": Row("reader", {**HS256, "auth.reject_unauthenticated": False}),
    "authz.roles_file": Row("roles.toml", HS256),
    "authz.default_mode": Row("allow-by-default", {**HS256, "authz.roles_file": "roles.toml"}),
    "authz.audit_enabled": Row(False, HS256),
    "authz.audit_log_path": Row("audit.log", HS256),
    "audit.record": Row("all", HS256),
    "audit.on_failure": Row("block", AUDIT_FILE),
    "audit.max_size_mb": Row(OTHER, AUDIT_FILE),
    "audit.max_backups": Row(OTHER, AUDIT_FILE),
    "gateway.enabled": Row(True),
    "gateway.bind_address": Row("127.0.0.1:1", GATEWAY),
    "gateway.cors_origins": Row(["https://a"], GATEWAY),
    "gateway.max_body_bytes": Row(OTHER, GATEWAY),
    "gateway.max_connections": Row(OTHER, GATEWAY),
    "gateway.idle_timeout_ms": Row(OTHER, GATEWAY),
    "resource_limits.max_connections_per_client": Row(),
    "resource_limits.max_requests_per_second_global": Row(),
    "resource_limits.max_requests_per_second_per_client": Row(),
    "resource_limits.adaptive_rate": Row(
        True, {"resource_limits.max_requests_per_second_global": 9}
    ),
    "resource_limits.max_memory_bytes": Row(1 << 30),
    "resource_limits.max_active_queries": Row(),
    "resource_limits.max_update_rows": Row(),
    "resource_limits.max_update_mb": Row(),
    "timeouts.request_timeout_ms": Row(),
    "timeouts.graceful_shutdown_timeout_ms": Row(1),
    "timeouts.idle_connection_timeout_ms": Row(70_000),
    "timeouts.max_connection_age_ms": Row(),
    "timeouts.connection_age_grace_ms": Row(),
    "timeouts.write_timeout_ms": Row(),
}
"""Keys that change what is built."""

REFUSED: Mapping[str, Row] = {
    "auth.methods": Row(["mtls"], HS256),
    "auth.api_key.hash_keys": Row(False, API_KEY, named="auth.api_key.keys_file"),
    "storage.wal.enabled": Row(False),
    "storage.wal.segment_size_mb": Row(1),
    "authz.policies_file": Row("p", HS256),
    "authz.collection_permissions": Row(False, HS256),
}
"""Keys with a value that no server starts with, and a fault that begins with the key."""

NOTICED: Mapping[str, Row] = {
    "auth.jwt.expiration_secs": Row(OTHER, HS256),
    **{key: Row(64 if key == "storage.wal.segment_size_mb" else OTHER) for key in IGNORED},
}
"""Keys that are named in a notice."""


def fields(
    section: type[BaseModel] = Settings, prefix: str = ""
) -> Iterator[tuple[str, FieldInfo]]:
    for name, info in section.model_fields.items():
        inner = section_of(info.annotation)
        if inner is None:
            yield prefix + name, info
        else:
            yield from fields(inner, f"{prefix}{name}.")


FIELDS = dict(fields())


def reference() -> list[str]:
    """Return the keys of the page without the tables of the older names."""
    page = (ROOT / "docs/configuration.md").read_text().partition("## Environment variables")[0]
    return re.findall(r"^\| `([a-z0-9_.]+)` \|", page, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with the files that the rows name."""
    folder = tmp_path_factory.mktemp("every_key")
    keys = {
        "rsa.pem": rsa.generate_private_key(65537, 2048),
        "ec.pem": ec.generate_private_key(ec.SECP256R1()),
        "ed.pem": ed25519.Ed25519PrivateKey.generate(),
    }
    pem, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    for name, key in keys.items():
        (folder / name).write_bytes(key.public_key().public_bytes(pem, form))
    (folder / "jwks.json").write_text(jwks(keys["ec.pem"]))
    for name in ("secret", "other-secret"):
        (folder / name).write_text(name * 20)
    for name, key_id in (
        ("keys.json", "one"),
        ("other-keys.json", "two"),
        ("further.json", "three"),
        ("ambiguous.json", "one"),
    ):
        (folder / name).write_text(json.dumps(api_keys(key_id)))
    for file in folder.iterdir():
        file.chmod(0o600)
    (folder / "roles.toml").write_text(ROLES)
    authorities(folder)
    return folder


def jwks(key: ec.EllipticCurvePrivateKey) -> str:
    numbers = key.public_key().public_numbers()
    x, y = (
        base64.urlsafe_b64encode(one.to_bytes(32, "big")).decode().rstrip("=")
        for one in (numbers.x, numbers.y)
    )
    return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "k"}]})


def api_keys(key_id: str) -> list[dict[str, object]]:
    digest = base64.b64encode(hashlib.sha256(key_id.encode()).digest()).decode()
    return [{"id": key_id, "name": "n", "key_hash": digest, "roles": ["user"]}]


def authorities(folder: Path) -> None:
    """Write an authority, a folder with it, and a list of what it revoked."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    now = datetime.now(UTC)
    begin, end = now - timedelta(days=1), now + timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, begin, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "authorities").mkdir()
    (folder / "authorities" / "ca.pem").write_bytes(certificate.public_bytes(pem))
    revoked = x509.RevokedCertificateBuilder(7, begin).build()
    crl = x509.CertificateRevocationListBuilder(subject, begin, end, [], [revoked])
    (folder / "crl.pem").write_bytes(crl.sign(key, hashes.SHA256()).public_bytes(pem))


ROLES = """
[[roles]]
name = "admin"
permissions = [{resource = "*", actions = ["admin"]}]
[[roles]]
name = "user"
permissions = [{resource = "collection:orders", actions = ["read"]}]
"""


@pytest.fixture
def here(folder, monkeypatch):
    """Work among the files, and open no database."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(engine_files, "RocksEngine", lambda *given, **named: (given, named))
    return folder


def loaded(folder: Path, *rows: Mapping[str, object]) -> Loaded:
    document: Document = {}
    for row in rows:
        for key, value in row.items():
            put(document, key, (folder / "jwks.json").read_text() if value == "JWKS" else value)
    path = folder / "c.toml"
    path.write_text(tomli_w.dumps(document))
    return load(Sources(path=path))


def another(key: str, value: object) -> object:
    """Return the value of the row, or one that is not the default."""
    default = FIELDS[key].default
    if value is not OTHER:
        return value
    return not default if isinstance(default, bool) else default + 1


def parts(settings: Settings, path: Path) -> dict[str, object]:
    """Return everything that a process makes of the settings."""

    async def composed() -> dict[str, object]:
        protection = protection_of(settings, ProcessClock())
        records = Feed[object](1)
        server = compose(
            settings,
            MemoryEngine(),
            Certificates({}),
            Reloading(),
            records,
            protection,
            folder=DataFolder(settings, lambda: None),
            traces=Traces(None),
        )
        for listener in (server.listener, server.internal):
            close_descriptors(listener)
        found = dict(picture(server, "server"))
        if protection is not None:
            protection.close()
        return found

    shown = CliRunner().invoke(main, ["status", "--format", "json", "--config", str(path)])
    rest = {
        "engine": engine_files.open_engine(settings),
        "grace": from_settings.grace_seconds(settings),
        "tracing": from_settings.tracing_settings(settings.telemetry.tracing),
        "log": from_settings.log_settings(settings.logging),
        "status": shown.stdout,
        "tls": from_settings.tls_paths(settings),
        "permissions": permissions(settings),
    }
    return asyncio.run(composed()) | dict(picture(rest, "rest"))


def permissions(settings: Settings) -> object:
    """Return what callers with no role and without a credential may do."""
    protection = protection_of(settings, ProcessClock())
    if protection is None:
        return None
    access = protection.gate.access
    callers = [Principal("ann", kind) for kind in (PrincipalKind.JWT, PrincipalKind.ANONYMOUS)]
    found = [(access.roles(one), access.grants(one)) for one in callers]
    protection.close()
    return found


def close_descriptors(listener: object) -> None:
    for held in (listener, getattr(listener, "_listener", None)):
        event = getattr(held, "_event", None)
        if isinstance(event, int):
            os.close(event)


PLAIN = (str, bytes, int, float, bool, type(None), PurePath, enum.Enum, re.Pattern)


def picture(
    value: object, path: str, seen: dict[int, object] | None = None
) -> Iterator[tuple[str, str]]:
    """Walk everything that an object of ours consists of; settings themselves prove nothing."""
    seen = {} if seen is None else seen
    if isinstance(value, PLAIN):
        yield path, repr(value)
    elif isinstance(value, SecretStr):
        yield path, value.get_secret_value()
    elif id(value) not in seen and not isinstance(value, (BaseModel, type, types.ModuleType)):
        seen[id(value)] = value  # Held, so that no other object gets its id.
        yield path, type(value).__qualname__
        for name, inner in content(value):
            yield from picture(inner, f"{path}.{name}", seen)


def content(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((repr(key), inner) for key, inner in value.items())
    elif isinstance(value, (list, tuple, deque)):
        yield from ((str(number), inner) for number, inner in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield "members", sorted(map(repr, value))
    elif isinstance(value, functools.partial):
        yield from (("function", value.func), ("given", value.args), ("named", value.keywords))
    elif isinstance(value, types.MethodType):
        yield "self", value.__self__
    elif isinstance(value, types.FunctionType):
        yield "defaults", value.__defaults__
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):
                yield name, cell.cell_contents
    elif isinstance(value, x509.Certificate):
        yield "serial", value.serial_number
    elif type(value).__module__.startswith("amaters_server"):
        names = dict.fromkeys(name for kind in type(value).__mro__ for name in slots(kind))
        for name in (*names, *getattr(value, "__dict__", {})):
            if hasattr(value, name):
                yield name, getattr(value, name)


def slots(kind: type) -> tuple[str, ...]:
    found = kind.__dict__.get("__slots__", ())
    names = (found,) if isinstance(found, str) else tuple(found)
    return tuple(one for one in names if not one.startswith("__"))


@functools.cache
def base(folder: Path, given: str) -> tuple[dict[str, str], frozenset[str]]:
    """Return what is built without the key, and what differs from one time to the next."""
    settings = loaded(folder, json.loads(given)).settings
    one, other = (parts(settings, folder / "c.toml") for _ in range(2))
    return one, differing(one, other)


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> frozenset[str]:
    return frozenset(key for key in {**one, **other} if one.get(key) != other.get(key))


def changed_by(folder: Path, key: str, row: Row) -> frozenset[str]:
    """Return what is built in another way because of the key."""
    before, unstable = base(folder, json.dumps(row.given))
    settings = loaded(folder, row.given, row.also, {key: another(key, row.value)}).settings
    found = differing(before, parts(settings, folder / "c.toml")) - unstable
    return frozenset(path for path in found if path.startswith(row.where))


@pytest.mark.parametrize("key", BUILT)
def test_a_key_changes_what_is_built(here, key):
    assert changed_by(here, key, BUILT[key])


@pytest.mark.parametrize("key", REFUSED)
def test_a_key_is_refused(here, key):
    row = REFUSED[key]
    parts(loaded(here, row.given).settings, here / "c.toml")

    with pytest.raises(ConfigurationError, match=rf"^{re.escape(row.named or key)}\b"):
        parts(loaded(here, row.given, {key: another(key, row.value)}).settings, here / "c.toml")


@pytest.mark.parametrize("key", NOTICED)
def test_a_key_without_effect_is_named_once(here, key):
    row = NOTICED[key]
    before = loaded(here, row.given).notices

    after = loaded(here, row.given, {key: another(key, row.value)}).notices

    [notice] = [one for one in after if one not in before]
    assert notice.startswith(f"{key} has no effect")


def test_every_key_of_the_reference_is_proven_and_no_other():
    tables = {*BUILT, *REFUSED, *NOTICED}

    assert tables == set(reference()) == set(FIELDS)
    assert not BUILT.keys() & (REFUSED.keys() - NOTICED.keys())
    assert not BUILT.keys() & NOTICED.keys()


@pytest.mark.parametrize("key", ["circuit_cache.ttl_secs", "timeouts.keep_alive_interval_ms"])
def test_a_key_that_changes_nothing_would_be_found(here, key):
    """The walk can fail: these keys are read, valid, and without effect."""
    assert key in NOTICED
    assert changed_by(here, key, NOTICED[key]) == frozenset()


def test_a_key_that_is_no_longer_passed_on_would_be_found(here, monkeypatch):
    key = "resource_limits.max_connections_per_client"
    assert changed_by(here, key, BUILT[key])
    made = listeners.ListenerSettings

    def forgetful(*given, max_connections_per_client, **named):
        return made(*given, **named)

    monkeypatch.setattr(listeners, "ListenerSettings", forgetful)
    base.cache_clear()
    assert changed_by(here, key, BUILT[key]) == frozenset()
    base.cache_clear()


@pytest.mark.parametrize("key", BUILT)
def test_a_reload_applies_a_key_or_names_it_every_time(here, key):
    row = BUILT[key]
    old = loaded(here, row.given).settings
    new = loaded(here, row.given, row.also, {key: another(key, row.value)}).settings

    in_force = merged(old, new)

    first, again = difference(old, new), difference(in_force, new)
    assert first.updated or first.skipped
    assert bool(first.updated) == takes_effect(key)
    assert again.updated == ()
    assert again.skipped == first.skipped
