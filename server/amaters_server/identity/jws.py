"""Signatures of tokens, and the keys that verify them; the only module that knows PyJWT.

A key is bound to the algorithms of its kind: a public key never serves as a shared secret. Only the
signature is checked here, by a key and an algorithm that the caller has chosen; `claims` reads what
was signed. Pure, and total: no token raises anything but AuthenticationError.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.utils import base64url_decode

from amaters_server.model import strict_json
from amaters_server.model.errors import AuthenticationError

SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""A shared secret has at least as many bytes as the digest (RFC 7518, 3.2)."""
RSA = ("RS256", "RS384", "RS512")
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384"}
KINDS = {
    ("RSA", ""): "RS256",
    ("EC", "P-256"): "ES256",
    ("EC", "P-384"): "ES384",
    ("OKP", "Ed25519"): "EdDSA",
}
"""Kind and curve of an entry of a JWKS, and an algorithm by which PyJWT can read it."""
ALGORITHMS = (*SECRET_BYTES, *RSA, *CURVES.values(), "EdDSA")

LEAST_RSA_BITS = 2048
MOST_KEYS = 64
"""Of one JWKS."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_SIGNATURES = jwt.PyJWS(algorithms=ALGORITHMS)
_FAILURES = (jwt.PyJWTError, ValueError, TypeError, KeyError, RecursionError, UnsupportedAlgorithm)
"""What PyJWT and cryptography raise for input that is no good."""

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One key, and all that it may verify."""

    key: PublicKey | bytes = field(repr=False)
    algorithms: frozenset[str]
    id: str | None = None


class Unverified(NamedTuple):
    """What a token says of itself, before anything is known about its truth."""

    algorithm: str
    key_id: str | None
    issuer: str | None


def refused(why: str) -> AuthenticationError:
    """Return the error for a token."""
    return AuthenticationError(f"JWT validation failed: {why}")


def of_secret(secret: bytes) -> VerificationKey:
    """Return a shared secret as a key; ValueError if it is too short, or is no secret at all."""
    if b"-----BEGIN" in secret or secret.startswith((b"ssh-", b"ecdsa-")):
        raise ValueError("it is a key file, which is no shared secret: set a public key's path")
    fit = frozenset(name for name, least in SECRET_BYTES.items() if len(secret) >= least)
    if not fit:
        raise ValueError(
            f"it has {len(secret)} bytes, and a short secret can be guessed: use 32 random bytes "
            "or more"
        )
    return VerificationKey(secret, fit)


def of_pem(pem: bytes) -> VerificationKey:
    """Return a public key, or that of a certificate; ValueError if it is neither."""
    try:
        if b"-----BEGIN CERTIFICATE" in pem:
            return _bound(x509.load_pem_x509_certificate(pem).public_key())
        return _bound(load_pem_public_key(pem))
    except UnsupportedAlgorithm as wrong:
        raise ValueError(str(wrong)) from None


def of_jwks(document: bytes | str) -> tuple[VerificationKey, ...]:
    """Return the keys of a set that verify tokens here; others are passed over.

    Shared secrets are among those: a set is published. ValueError if the document is no set.
    """
    try:
        entries = _object(document)["keys"]
    except (ValueError, KeyError):
        entries = None
    if not isinstance(entries, list) or len(entries) > MOST_KEYS:
        raise ValueError(f"it is no JWKS (an object with `keys`, at most {MOST_KEYS})")
    return tuple(key for entry in entries if (key := _of_jwk(entry)) is not None)


def _of_jwk(entry: object) -> VerificationKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    algorithm = KINDS.get((str(entry.get("kty")), str(entry.get("crv", ""))))
    if algorithm is None:
        return None
    try:
        # What binds it is its kind: its own `alg` can only narrow that.
        public = {name: value for name, value in entry.items() if name not in {"alg", "d"}}
        bound = _bound(jwt.PyJWK.from_dict(public, algorithm=algorithm).key)
    except _FAILURES:
        return None
    only = entry.get("alg")
    algorithms = bound.algorithms if only is None else bound.algorithms & {str(only)}
    key_id = entry.get("kid")
    return VerificationKey(bound.key, algorithms, key_id if isinstance(key_id, str) else None)


def _bound(key: object) -> VerificationKey:
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < LEAST_RSA_BITS:
            raise ValueError(f"it has {key.key_size} bits: use {LEAST_RSA_BITS} or more")
        return VerificationKey(key, frozenset(RSA))
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return VerificationKey(key, frozenset({CURVES[key.curve.name]}))
    if isinstance(key, ed25519.Ed25519PublicKey):
        return VerificationKey(key, frozenset({"EdDSA"}))
    raise ValueError("it is no public key of RSA, P-256, P-384 or Ed25519")


def read(token: str) -> Unverified:
    """Return what the token says of itself; nothing of it may be believed yet."""
    if _TOKEN.fullmatch(token) is None:
        raise refused("the token is not three parts in base64url, joined by dots")
    try:
        found = _SIGNATURES.decode_complete(token, options={"verify_signature": False})
        header = _object(base64url_decode(token.partition(".")[0]))
        payload = _object(found["payload"])
    except _FAILURES:
        raise refused("the token's header or payload cannot be read") from None
    if "crit" in header or "b64" in header:
        raise refused("the token demands an extension (crit, b64), and none is known here")
    algorithm, key_id, issuer = header.get("alg"), header.get("kid"), payload.get("iss")
    return Unverified(
        algorithm if algorithm in ALGORITHMS else "",
        key_id if isinstance(key_id, str) else None,
        issuer if isinstance(issuer, str) else None,
    )


def verified(token: str, algorithm: str, keys: Iterable[VerificationKey]) -> Mapping[str, object]:
    """Return the claims that one of the keys has signed; AuthenticationError if none has."""
    for one in keys:
        if algorithm not in one.algorithms:
            continue
        try:
            return _object(_SIGNATURES.decode(token, one.key, algorithms=[algorithm]))
        except _FAILURES:
            continue
    raise refused("the signature is not that of a key known here")


def _object(payload: bytes | str) -> dict[str, object]:
    found = strict_json.parsed(payload)
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004 It is the content that is wrong.
    return found
