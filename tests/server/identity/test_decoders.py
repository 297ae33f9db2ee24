"""No input of a caller or of an issuer makes a decoder do anything but refuse it."""

import base64
import json

import pytest
from amaters_server.identity import jws
from amaters_server.identity.api_keys import parsed
from amaters_server.identity.certificates import CertificateRules, principal_of, revoked_of
from amaters_server.identity.claims import ClaimRules, checked
from amaters_server.identity.credentials import credentials_of
from amaters_server.model.errors import AuthenticationError, CertificateRefusedError
from amaters_server.testing.certificates import Authority
from amaters_server.testing.tokens import jwk, new_key
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.slow


def json_of(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[object]:
    return st.recursive(
        st.none() | st.booleans() | st.integers() | numbers | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )


ANY_JSON = json_of(st.floats())
"""NaN and infinity among it, which Python writes."""
SOUND_JSON = json_of(st.floats(allow_nan=False, allow_infinity=False))
SECRET = jws.of_secret(b"s" * 32)
KEYS = (SECRET, jws.of_pem(Authority().pem))
DER = x509.load_pem_x509_certificate(Authority().issue("ada").certificate).public_bytes(
    Encoding.DER
)


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def read_and_verify(token: str) -> None:
    try:
        unverified = jws.read(token)
        for algorithm in jws.ALGORITHMS:
            jws.verified(token, unverified.algorithm or algorithm, KEYS)
    except AuthenticationError:
        return


@given(st.text() | st.text(alphabet="abcA0-_.=", max_size=60))
def test_any_text_as_a_token(text):
    read_and_verify(text)


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_as_the_parts_of_a_token(header, payload, signature):
    read_and_verify(".".join(map(encoded, (header, payload, signature))))


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), ANY_JSON),
       ANY_JSON)  # fmt: skip
def test_any_json_as_header_and_payload(header, payload):
    parts = [encoded(json.dumps(part).encode()) for part in (header, payload)]
    read_and_verify(".".join([*parts, "AAAA"]))


@pytest.mark.parametrize(
    "part", [b"[" * 5000, b'{"a":' * 1000, b'{"alg":"HS256","exp":' + b"9" * 4000 + b"}"]
)
def test_deep_and_long_json(part):
    read_and_verify(f"{encoded(part)}.{encoded(part)}.AAAA")
    read_and_verify(f"{encoded(b'{}')}.{encoded(part)}.AAAA")


@given(st.dictionaries(st.sampled_from(["exp", "nbf", "iat", "iss", "aud", "sub", "name", "roles"]),
                       ANY_JSON))  # fmt: skip
def test_any_claims(claims):
    for rules in (ClaimRules(), ClaimRules("i", "a", 5.0, "roles.a")):
        try:
            found = checked(claims, rules, 1_800_000_000.0)
        except AuthenticationError:
            continue
        assert found.subject
        assert found.name.isprintable()


FIELDS = ["kty", "kid", "crv", "x", "y", "n", "e", "k", "alg", "use", "key_ops", "d"]
TYPES = st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "P-384", "Ed25519", "AQAB", "sig"])


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), TYPES | SOUND_JSON), max_size=4))
def test_any_entries_of_a_set(entries):
    for key in jws.of_jwks(json.dumps({"keys": entries})):
        assert not any(name.startswith("HS") for name in key.algorithms)


@given(st.sampled_from(["RS256", "ES256", "ES384", "EdDSA"]), st.sampled_from(FIELDS), SOUND_JSON)
def test_a_good_entry_with_any_field_replaced(algorithm, name, value):
    entry = {**jwk(CACHED[algorithm], "a"), name: value}

    assert len(jws.of_jwks(json.dumps({"keys": [entry]}))) <= 1


CACHED = {name: new_key(name) for name in ("RS256", "ES256", "ES384", "EdDSA")}


@given(st.binary() | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_as_a_set_a_key_or_a_file_of_api_keys(content):
    for read in (jws.of_jwks, jws.of_pem, jws.of_secret, lambda one: parsed(one, hashed=True)):
        try:
            read(content)
        except ValueError:
            continue


@given(st.binary(max_size=200))
def test_any_bytes_as_a_certificate_or_a_list(content):
    with pytest.raises(CertificateRefusedError):
        principal_of(content, CertificateRules(), 0.0)
    with pytest.raises(ValueError, match=r"."):
        revoked_of(content, (), 0.0)


@given(st.integers(0, len(DER) - 1), st.integers(1, 255))
def test_a_certificate_with_one_byte_changed(at, by):
    changed = bytearray(DER)
    changed[at] ^= by
    moment = x509.load_der_x509_certificate(DER).not_valid_before_utc.timestamp() + 1
    try:
        found = principal_of(bytes(changed), CertificateRules(verify_cn=False), moment)
    except CertificateRefusedError:
        return
    assert found.name.isprintable()


@given(st.lists(st.tuples(st.sampled_from(["authorization", "x-api-key", "x"]),
                          st.text() | st.binary() | st.just("Bearer a.b.c")), max_size=4))  # fmt: skip
def test_any_metadata(metadata):
    try:
        found = credentials_of(metadata, address="", api_key_header="x-api-key")
    except AuthenticationError:
        return
    assert not (found.token and found.api_key)
