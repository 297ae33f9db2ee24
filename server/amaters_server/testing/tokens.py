"""Tokens for tests, signed without the library that checks them, so that any may be wrong."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SigningKey = bytes | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

DIGESTS = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def new_key(algorithm: str) -> SigningKey:
    """Return a key for the algorithm."""
    match algorithm[:2]:
        case "HS":
            return hashlib.shake_256(algorithm.encode()).digest(64)
        case "RS":
            return rsa.generate_private_key(65537, 2048)
        case "ES":
            curve = ec.SECP256R1() if algorithm == "ES256" else ec.SECP384R1()
            return ec.generate_private_key(curve)
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def public_pem(key: SigningKey) -> bytes:
    """Return the public half as a file has it; of a shared secret that is the secret."""
    if isinstance(key, bytes):
        return key
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(key: SigningKey, key_id: str) -> dict[str, str]:
    """Return the public half as an entry of a JWKS."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "kid": key_id, "n": _number(numbers.n), "e": _number(numbers.e)}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
        x, y = _number(point.x, size), _number(point.y, size)
        return {"kty": "EC", "kid": key_id, "crv": f"P-{key.key_size}", "x": x, "y": y}
    if isinstance(key, bytes):
        return {"kty": "oct", "kid": key_id, "k": _base64url(key)}
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"kty": "OKP", "kid": key_id, "crv": "Ed25519", "x": _base64url(raw)}


def jwks(**keys: SigningKey) -> str:
    """Return a set of these keys by id."""
    return json.dumps({"keys": [jwk(key, key_id) for key_id, key in keys.items()]})


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs tokens with one key."""

    algorithm: str
    key: SigningKey = field(repr=False)
    key_id: str | None = None

    def token(self, claims: Mapping[str, object], **header: object) -> str:
        """Return the claims, signed; the header may say anything beside."""
        fields: dict[str, object] = {"alg": self.algorithm, "typ": "JWT"}
        if self.key_id is not None:
            fields["kid"] = self.key_id
        parts = [_base64url(json.dumps(part).encode()) for part in ({**fields, **header}, claims)]
        signed = ".".join(parts)
        return f"{signed}.{_base64url(self._sign(signed.encode()))}"

    def _sign(self, content: bytes) -> bytes:
        if self.algorithm == "none":
            return b""
        key = self.key
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(content)
        digest = DIGESTS[self.algorithm[2:]]
        if isinstance(key, bytes):
            return hmac.digest(key, content, digest.name)
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(content, padding.PKCS1v15(), digest)
        r, s = decode_dss_signature(key.sign(content, ec.ECDSA(digest)))
        size = (key.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _number(value: int, size: int = 0) -> str:
    return _base64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
