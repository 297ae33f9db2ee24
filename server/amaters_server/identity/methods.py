"""The methods of the configuration, with the files that it names. Read at start, and on SIGHUP."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from cryptography import x509

from amaters_server.config.security.authentication import (
    ApiKeySection,
    AuthSection,
    JwtSection,
    KubernetesSection,
    MtlsSection,
)
from amaters_server.identity import api_keys, certificates, jws
from amaters_server.identity.api_keys import ApiKeys
from amaters_server.identity.authenticator import Methods
from amaters_server.identity.certificates import CertificateRules
from amaters_server.identity.claims import ClaimRules
from amaters_server.identity.files import content as _content
from amaters_server.identity.jwks import FetchedKeys, JwksSource, KeyRing, UrlSource
from amaters_server.identity.jws import VerificationKey
from amaters_server.identity.patterns import NamePatterns, RoleMap
from amaters_server.identity.tokens import (
    Mapper,
    TokenCheck,
    bearer,
    bearer_beside_kubernetes,
    service_account,
)
from amaters_server.model.clock import Clock
from amaters_server.model.errors import ConfigurationError

_log = logging.getLogger(__name__)

T = TypeVar("T")
Fetched: TypeAlias = Callable[[JwksSource], FetchedKeys]


def read_methods(
    auth: AuthSection, clock: Clock, tls_ca: Path | None = None, before: Methods | None = None
) -> Methods:
    """Return them; ConfigurationError names the key whose file is missing or wrong.

    What was fetched from issuers `before` is kept: one that is away now is not lost by a reload.
    """
    old = () if before is None else tuple(before.fetched())

    def fetched(source: JwksSource) -> FetchedKeys:
        same = (one for one in old if one.source == source)
        return next(same, None) or FetchedKeys(source, clock.now)

    # The names of pods belong to Kubernetes, unless its API server is that very issuer.
    mapper = bearer_beside_kubernetes if auth.uses("kubernetes") else bearer
    return Methods(
        jwt=_jwt(auth.jwt, fetched, mapper) if auth.uses("jwt") else None,
        kubernetes=_kubernetes(auth.kubernetes, fetched) if auth.uses("kubernetes") else None,
        api_keys=_api_keys(auth.api_key) if auth.uses("api_key") else None,
        certificates=_certificates(auth.mtls, clock, tls_ca) if auth.uses("mtls") else None,
        anonymous=not auth.reject_unauthenticated,
        api_key_header=auth.api_key.header_name.lower(),
        failures_per_minute=auth.failures_per_minute,
    )


def _jwt(section: JwtSection, fetched: Fetched, mapper: Mapper) -> TokenCheck:
    keys = tuple(_jwt_keys(section))
    published = None if section.jwks_url is None else fetched(UrlSource(section.jwks_url))
    accepted = frozenset(section.accepted)
    for algorithm in section.accepted:
        if published is None and not any(algorithm in key.algorithms for key in keys):
            raise ConfigurationError(
                f"auth.jwt.algorithm: no key given is for {algorithm}: its kind or length is "
                "another, so correct one of them"
            )
    rules = ClaimRules(section.issuer, section.audience, section.leeway_secs, section.roles_claim)
    return TokenCheck(KeyRing(keys, published), accepted, rules, mapper)


def _jwt_keys(section: JwtSection) -> Iterator[VerificationKey]:
    if section.secret is not None:
        secret = section.secret.get_secret_value().encode()
        yield _understood("auth.jwt.secret", jws.of_secret, secret)
    if section.secret_file is not None:
        # A line end is that of the editor, not of the secret.
        secret = _content("auth.jwt.secret_file", section.secret_file, secret=True).rstrip(b"\r\n")
        yield _understood("auth.jwt.secret_file", jws.of_secret, secret)
    for name in ("public_key_path", "ec_public_key_path", "ed_public_key_path"):
        path = getattr(section, name)
        if path is not None:
            key = f"auth.jwt.{name}"
            yield _understood(key, jws.of_pem, _content(key, path))
    yield from _jwks("auth.jwt", section.jwks, section.jwks_file)


def _jwks(table: str, inline: str | None, path: Path | None) -> Iterator[VerificationKey]:
    if inline is not None:
        yield from _understood(f"{table}.jwks", _some_jwks, inline.encode())
    if path is not None:
        key = f"{table}.jwks_file"
        yield from _understood(key, _some_jwks, _content(key, path))


def _some_jwks(document: bytes) -> tuple[VerificationKey, ...]:
    keys = jws.of_jwks(document)
    if not keys:
        raise ValueError("it holds no public key of RSA, P-256, P-384 or Ed25519")
    return keys


def _kubernetes(section: KubernetesSection, fetched: Fetched) -> TokenCheck:
    ring = KeyRing(tuple(_jwks("auth.kubernetes", section.jwks, section.jwks_file)))
    if not ring.given:
        source = UrlSource(section.jwks_url, section.token_file, section.ca_file)
        ring = KeyRing(fetched=fetched(source))
    rules = ClaimRules(section.issuer, section.audience, leeway=0.0)
    public = frozenset(jws.ALGORITHMS) - frozenset(jws.SECRET_BYTES)
    return TokenCheck(ring, public, rules, service_account(RoleMap(section.roles)))


def _api_keys(section: ApiKeySection) -> ApiKeys:
    key = "auth.api_key.keys_file"
    if section.keys_file is None:
        raise ConfigurationError(f"{key}: API keys enabled but no keys file specified")
    secret = read_hmac_secret(section.hmac_secret_file)
    files = [(key, section.keys_file)]
    files += [("auth.api_key.further_keys_files", path) for path in section.further_keys_files]
    found: tuple[api_keys.ApiKey, ...] = ()
    for name, path in files:
        content = _content(name, path, secret=True)
        read = partial(api_keys.parsed, hashed=section.hash_keys, beside=found)
        found += _understood(name, read, content)
    try:
        return ApiKeys(found, secret)
    except ValueError as wrong:
        raise ConfigurationError(f"{key}: {wrong}") from None


def read_hmac_secret(path: Path | None) -> bytes | None:
    """Return the secret of the HMAC digests; ConfigurationError if it can be guessed."""
    if path is None:
        return None
    key = "auth.api_key.hmac_secret_file"
    secret = _content(key, path, secret=True).rstrip(b"\r\n")
    if len(secret) < api_keys.LEAST_SECRET_BYTES:
        raise ConfigurationError(
            f"{key}: it has {len(secret)} bytes: use {api_keys.LEAST_SECRET_BYTES} random ones"
        )
    return secret


def _certificates(section: MtlsSection, clock: Clock, tls_ca: Path | None) -> CertificateRules:
    issuers = tuple(_authorities(section.ca_certs_dir))
    known = list(issuers)
    if tls_ca is not None:
        content = _content("network.tls_ca", tls_ca)
        known += _understood("network.tls_ca", certificates.certificates_of, content)
    revoked: certificates.Revoked = {}
    if section.crl_path is not None:
        key = "auth.mtls.crl_path"

        def read(content: bytes) -> tuple[certificates.Revoked, list[str]]:
            return certificates.revoked_of(content, known, clock.unix_ms() / 1000)

        revoked, warnings = _understood(key, read, _content(key, section.crl_path))
        for warning in warnings:
            _log.warning("crl.overdue", extra={"key": key, "reason": warning})
    return CertificateRules(
        verify_cn=section.verify_cn,
        by_organization=section.mapper == "organization",
        organizations=frozenset(section.allowed_organizations),
        principals=NamePatterns(section.allowed_principals),
        roles=RoleMap(section.roles),
        issuers=issuers,
        revoked=revoked,
    )


def _authorities(folder: Path | None) -> Iterator[x509.Certificate]:
    if folder is None:
        return
    key = "auth.mtls.ca_certs_dir"
    if not folder.is_dir():
        raise ConfigurationError(f"{key}: {folder} is no folder: correct the path")
    files = [path for path in sorted(folder.iterdir()) if path.suffix in {".crt", ".pem", ".der"}]
    if not files:
        raise ConfigurationError(f"{key}: {folder} has no .crt, .pem or .der file: add one")
    for path in files:
        yield from _understood(key, certificates.certificates_of, _content(key, path))


def _understood(key: str, read: Callable[[bytes], T], content: bytes) -> T:
    try:
        return read(content)
    except ValueError as wrong:
        raise ConfigurationError(f"{key}: {wrong}") from None
