"""Tokens that two readers could understand differently are refused."""

import base64
import hashlib
import hmac
import json

import pytest
from amaters_server.identity import jws
from amaters_server.model.errors import AuthenticationError
from amaters_server.testing.tokens import Signer, new_key, public_pem
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

SECRET = b"s" * 32
CLAIMS = {"sub": "ada", "exp": 1_800_000_300}
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def signed(header: bytes, payload: bytes) -> str:
    """Return a token of these very bytes, signed with SECRET."""
    content = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    signature = base64.urlsafe_b64encode(hmac.digest(SECRET, content, hashlib.sha256))
    return (content + b"." + signature.rstrip(b"=")).decode()


def accepted(token: str, key: jws.VerificationKey | None = None) -> bool:
    try:
        unverified = jws.read(token)
        jws.verified(token, unverified.algorithm, [key or jws.of_secret(SECRET)])
    except AuthenticationError:
        return False
    return True


def test_the_helper_signs_sound_tokens():
    assert accepted(signed(b'{"alg":"HS256"}', b'{"sub":"ada"}'))


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (b'{"alg":"none","alg":"HS256"}', b'{"sub":"ada"}'),
        (b'{"alg":"HS256","kid":"a","kid":"b"}', b'{"sub":"ada"}'),
        (b'{"alg":"HS256"}', b'{"sub":"ada","sub":"admin"}'),
        (b'{"alg":"HS256"}', b'{"sub":"ada","x":{"roles":1,"roles":2}}'),
        (b'{"alg":"HS256"}', b'{"sub":"ada","exp":NaN}'),
        (b'{"alg":"HS256"}', b'{"sub":"ada","exp":-Infinity}'),
        (b'{"alg":"HS256"}', b'\xef\xbb\xbf{"sub":"ada"}'),
        (b'{"alg":"HS256"}', b'{"sub":"\xff"}'),
        (b'{"alg":"HS256"}', '{"sub":"ada"}'.encode("utf-16")),
        (b'{"alg":"HS256"}', b'[{"sub":"ada"}]'),
        (b'{"alg":"HS256"}', b'"ada"'),
        (b'["HS256"]', b'{"sub":"ada"}'),
    ],
)
def test_json_that_readers_understand_differently_is_refused(header, payload):
    assert not accepted(signed(header, payload))


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256", "ES384", "EdDSA"])
def test_a_token_has_one_encoding(algorithm):
    """Otherwise one token would fill the table of principals with its variants."""
    key = new_key(algorithm)
    public = jws.of_secret(key) if isinstance(key, bytes) else jws.of_pem(public_pem(key))
    token = Signer(algorithm, key).token(CLAIMS)

    variants = [token[:-1] + digit for digit in DIGITS]

    assert [one for one in variants if accepted(one, public)] == [token]
    assert not accepted(token + "=", public)
    assert not accepted(token + "A", public)


def ecdsa(change) -> bool:
    key = new_key("ES256")
    content, _, signature = Signer("ES256", key).token(CLAIMS).rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    changed = base64.urlsafe_b64encode(change(raw)).rstrip(b"=").decode()
    return accepted(f"{content}.{changed}", jws.of_pem(public_pem(key)))


def as_der(raw: bytes) -> bytes:
    return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))


@pytest.mark.parametrize(
    "change",
    [
        as_der,
        lambda raw: b"\0" + raw[:32] + b"\0" + raw[32:],
        lambda raw: raw + b"\0",
        lambda raw: raw[:-1],
        lambda raw: bytes(64),
        lambda raw: b"\xff" * 64,
        lambda raw: raw[32:] + raw[:32],
        lambda raw: b"",
    ],
)
def test_an_ecdsa_signature_has_the_length_of_two_numbers(change):
    assert ecdsa(lambda raw: raw)
    assert not ecdsa(change)
    assert decode_dss_signature(as_der(b"\1" * 64))[0] > 0


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "x5t"])
def test_a_key_in_the_token_is_no_key(name):
    header = {"jwk": {"kty": "oct", "k": "ZmZm"}, "x5c": ["AAAA"]}.get(name, "https://e/")
    forged = Signer("HS256", b"f" * 32).token(CLAIMS, **{name: header})

    assert not accepted(forged)
    assert accepted(Signer("HS256", SECRET).token(CLAIMS, **{name: header}))


@pytest.mark.parametrize("kid", ["../../dev/null", "/dev/null", "' OR 1=1 --", "", "a\n", 7, ["a"]])
def test_a_key_id_is_compared_and_nothing_else(kid):
    token = Signer("HS256", b"").token(CLAIMS, kid=kid)

    assert not accepted(token)


def test_a_deep_payload_is_refused():
    payload = b'{"sub":' + b"[" * 3000 + b"]" * 3000 + b"}"

    assert not accepted(signed(b'{"alg":"HS256"}', payload))
    assert accepted(signed(b'{"alg":"HS256"}', json.dumps(CLAIMS).encode()))
