"""Which pairs of certificate and key a listener takes: those that all clients and members can use."""

import datetime as dt
from base64 import b64decode, b64encode

import pytest
from amaters_server.model.errors import ConfigurationError
from amaters_server.rpc.transport.tls import Certificates, TlsPaths
from amaters_server.testing.certificates import CLIENT, DAY, SERVER, Authority, Issued
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

NOW = dt.datetime.now(dt.UTC)

KEYS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "RSA-1024": lambda: rsa.generate_private_key(65537, 1024),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA-4096": lambda: rsa.generate_private_key(65537, 4096),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
    "DSA": lambda: dsa.generate_private_key(2048),
}


@pytest.fixture(scope="module")
def authority():
    return Authority()


def taken(tmp_path, issued: Issued, ca: bytes | None, listener="peer") -> str:
    """Return why the pair is refused, or nothing."""
    issued.write(tmp_path, ca or b"")
    ca_path = None if ca is None else tmp_path / "ca.crt"
    paths = TlsPaths(tmp_path / "tls.crt", tmp_path / "tls.key", ca_path)
    try:
        Certificates({listener: paths})
    except ConfigurationError as refused:
        return str(refused)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("listener", ["client", "peer"])
@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "RSA-4096"])
def test_keys_that_everybody_can_use_are_taken(tmp_path, authority, kind, listener):
    assert taken(tmp_path, authority.issue(key=KEYS[kind]()), authority.pem, listener) == ""


@pytest.mark.slow
@pytest.mark.parametrize("listener", ["client", "peer"])
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("P-521", "an ECDSA key on secp521r1"),
        ("secp256k1", "an ECDSA key on secp256k1"),
        ("RSA-1024", "an RSA key of 1024 bits"),
        ("Ed25519", "a key of the kind Ed25519"),
        ("Ed448", "a key of the kind Ed448"),
        ("DSA", "a key of the kind DSA"),
    ],
)
def test_keys_that_somebody_cannot_use_are_refused(tmp_path, authority, kind, told, listener):
    said = taken(tmp_path, authority.issue(key=KEYS[kind]()), authority.pem, listener)

    assert said == (
        f"certificate {tmp_path}/tls.crt has {told}, which not all clients and members can use: "
        "issue one with an ECDSA key on P-256 or P-384, or an RSA key of 2048 to 4096 bits"
    )


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519"])
def test_authorities_whose_signatures_members_can_check_are_taken(tmp_path, kind):
    authority = Authority(key=KEYS[kind]())

    assert taken(tmp_path, authority.issue(), authority.pem) == ""


@pytest.mark.parametrize("kind", ["P-521", "RSA-1024", "Ed448"])
def test_authorities_whose_signatures_members_cannot_check_are_refused(tmp_path, kind):
    authority = Authority(key=KEYS[kind]())

    said = taken(tmp_path, authority.issue(), authority.pem)

    assert said.startswith(f"CA file {tmp_path}/ca.crt holds an authority with ")
    assert "which members cannot check: issue one with " in said


def test_one_authority_of_several_is_enough(tmp_path, authority):
    late = Authority("late", starts=NOW - 9 * DAY, lasts=DAY)

    assert taken(tmp_path, authority.issue(), late.pem + authority.pem) == ""
    said = taken(tmp_path, authority.issue(), late.pem)
    assert "ca.crt expired at " in said
    assert said.endswith(": renew it")


def sha1_instead_of_sha256(pem: bytes) -> bytes:
    """Say in an RSA signature that it is of SHA-1; nobody here makes such signatures any more."""
    der = b64decode(b"".join(pem.splitlines()[1:-1]))
    sha256, sha1 = (bytes.fromhex(f"06092a864886f70d0101{number}") for number in ("0b", "05"))
    body = b64encode(der.replace(sha256, sha1))
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("listener", ["client", "peer"])
def test_a_signature_with_sha1_is_refused(tmp_path, listener):
    authority = Authority(key=KEYS["RSA-2048"]())
    issued = authority.issue("db-0")
    old = Issued(sha1_instead_of_sha256(issued.certificate), issued.key, issued.serial)

    said = taken(tmp_path, old, authority.pem, listener)

    assert "is signed with SHA-1 or MD5 (CN=db-0)" in said
    assert "issue one that is signed with SHA-256" in said


def test_a_chain_may_have_links_in_any_order(tmp_path, authority):
    upper = Authority("upper", above=authority)
    lower = Authority("lower", above=upper)
    issued = lower.issue()

    for between in (lower.pem + upper.pem, upper.pem + lower.pem):
        whole = Issued(issued.certificate + between, issued.key, issued.serial)
        assert taken(tmp_path, whole, authority.pem) == ""


@pytest.mark.parametrize("between", ["nothing", "half", "something else"])
def test_a_chain_that_does_not_lead_up_to_the_authority_is_refused(tmp_path, authority, between):
    upper = Authority("upper", above=authority)
    lower = Authority("lower", above=upper)
    issued = lower.issue()
    added = {"nothing": b"", "half": lower.pem, "something else": Authority("else").pem}[between]
    incomplete = Issued(issued.certificate + added, issued.key, issued.serial)

    said = taken(tmp_path, incomplete, authority.pem)

    assert "CN=lower" in said
    assert "append the certificates between" in said


def test_a_link_that_expired_is_named(tmp_path, authority):
    between = Authority("between", above=authority, starts=NOW - 9 * DAY, lasts=DAY)
    issued = between.issue()
    chain = Issued(issued.certificate + between.pem, issued.key, issued.serial)

    assert "was issued by CN=between, whose certificate expired at" in taken(
        tmp_path, chain, authority.pem
    )


@pytest.mark.parametrize("listener", ["client", "peer"])
def test_another_authority_of_the_same_name_is_noticed(tmp_path, authority, listener):
    said = taken(tmp_path, authority.issue(), Authority().pem, listener)

    assert "replace certificate, key and authorities from one issue" in said


def test_clients_may_know_an_issuer_that_the_server_does_not(tmp_path, authority):
    elsewhere = Authority("a public one")

    assert taken(tmp_path, elsewhere.issue(), authority.pem, "client") == ""
    assert taken(tmp_path, elsewhere.issue(), None, "client") == ""
    assert "neither in the same file nor among the authorities" in taken(
        tmp_path, elsewhere.issue(), authority.pem, "peer"
    )


@pytest.mark.parametrize(
    ("usages", "listener", "missing"),
    [
        ((SERVER,), "client", ""),
        ((SERVER,), "peer", "is not issued for clientAuth"),
        ((CLIENT,), "client", "is not issued for serverAuth"),
        ((SERVER, CLIENT), "peer", ""),
    ],
)
def test_the_usage_must_allow_what_it_is_used_for(tmp_path, authority, usages, listener, missing):
    said = taken(tmp_path, authority.issue(usages=usages), authority.pem, listener)

    assert missing in said
    assert bool(said) == bool(missing)
