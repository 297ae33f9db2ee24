"""Keys are of a kind and a strength, and each verifies by the algorithms of its kind alone."""

import time

import pytest
from amaters_server.config.security.authentication import AuthSection
from amaters_server.identity import jws
from amaters_server.identity.methods import read_hmac_secret, read_methods
from amaters_server.identity.patterns import NamePatterns, RoleMap
from amaters_server.model.errors import AuthenticationError, ConfigurationError
from amaters_server.testing.certificates import Authority
from amaters_server.testing.clock import ManualClock
from amaters_server.testing.tokens import Signer, new_key, public_pem
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

CLAIMS = {"sub": "a", "exp": 2_000_000_000}


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "EdDSA"])
def test_a_public_key_verifies_no_hmac_over_its_own_bytes(algorithm):
    public = public_pem(new_key(algorithm))
    forged = Signer("HS256", public).token(CLAIMS)

    with pytest.raises(AuthenticationError, match="not that of a key known here"):
        jws.verified(forged, "HS256", [jws.of_pem(public)])


def test_the_algorithm_chosen_has_to_be_that_of_the_token():
    key = new_key("HS512")
    token = Signer("HS512", key).token(CLAIMS)

    assert jws.verified(token, "HS512", [jws.of_secret(key)]) == CLAIMS
    with pytest.raises(AuthenticationError):
        jws.verified(token, "HS256", [jws.of_secret(key)])
    with pytest.raises(AuthenticationError):
        jws.verified(token, "HS512", [jws.VerificationKey(key, frozenset({"HS256"}))])


@pytest.mark.parametrize(
    ("size", "algorithms"),
    [
        (32, {"HS256"}),
        (47, {"HS256"}),
        (48, {"HS256", "HS384"}),
        (64, {"HS256", "HS384", "HS512"}),
    ],
)
def test_a_secret_serves_the_algorithms_that_it_is_long_enough_for(size, algorithms):
    assert jws.of_secret(b"s" * size).algorithms == algorithms


def test_a_secret_that_can_be_guessed_or_is_public_is_refused():
    with pytest.raises(ValueError, match="it has 9 bytes"):
        jws.of_secret(b"change-me")
    with pytest.raises(ValueError, match="no shared secret"):
        jws.of_secret(public_pem(new_key("RS256")))


def test_the_key_of_a_certificate_serves_too():
    assert jws.of_pem(Authority().pem).algorithms == {"ES256"}


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (rsa.generate_private_key(65537, 1024), "it has 1024 bits"),
        (ec.generate_private_key(ec.SECP521R1()), "no public key of RSA, P-256"),
        (ec.generate_private_key(ec.SECP256K1()), "no public key of RSA, P-256"),
        (x25519.X25519PrivateKey.generate(), "no public key of RSA, P-256"),
    ],
)
def test_weak_keys_and_other_kinds_are_refused(key, reason):
    with pytest.raises(ValueError, match=reason):
        jws.of_pem(public_pem(key))


@pytest.mark.parametrize("extension", [{"crit": ["exp"]}, {"b64": True}])
def test_a_token_that_demands_an_extension_is_refused(extension):
    with pytest.raises(AuthenticationError, match=r"demands an extension|cannot be read"):
        jws.read(Signer("HS256", b"s" * 32).token(CLAIMS, **extension))


def test_stars_stay_within_one_part_of_a_name():
    pattern = NamePatterns(["system:*:shop:*"])

    assert pattern.match(["system:serviceaccount:shop:cart"])
    assert not pattern.match(["system:serviceaccount:other:shop:cart"])
    assert not NamePatterns(["a.c"]).match(["abc"])
    assert NamePatterns(["*"]).match(["any:name"])
    assert RoleMap({"a*": ["x", "y"], "*b": ["y", "z"]}).of(["ab"]) == ("x", "y", "z")


def test_a_pattern_takes_linear_time_whatever_the_name():
    pattern = NamePatterns(["*a" * 8 + "*b"])

    began = time.process_time()
    assert not pattern.match(["a" * 10_000])

    assert time.process_time() - began < 0.1


def test_dns_names_are_compared_without_their_case_and_others_with_it():
    assert NamePatterns(["dns:*.Backup.svc"]).match(["dns:DB.backup.SVC"])
    assert not NamePatterns(["Ada"]).match(["ada"])
    assert not NamePatterns(["uri:spiffe://a/Ada"]).match(["uri:spiffe://a/ada"])


@pytest.mark.parametrize("secret", [b"ssh-rsa " + b"A" * 60, b"ecdsa-sha2-nistp256 " + b"A" * 60])
def test_a_public_key_of_ssh_is_no_shared_secret(secret):
    with pytest.raises(ValueError, match="no shared secret"):
        jws.of_secret(secret)


def refusal(tmp_path, **jwt: object) -> str:
    auth = {"enabled": True, "methods": ["jwt"], "jwt": {"enabled": True, **jwt}}
    with pytest.raises(ConfigurationError) as raised:
        read_methods(AuthSection.model_validate(auth), ManualClock())
    return str(raised.value)


def test_a_file_that_is_missing_or_wrong_is_named_with_its_key(tmp_path):
    wrong, curve = tmp_path / "wrong", tmp_path / "curve"
    wrong.write_text("hunter2")
    curve.write_bytes(public_pem(new_key("ES256")))
    missing = tmp_path / "missing"

    assert refusal(tmp_path, algorithm="RS256", public_key_path=missing) == (
        f"auth.jwt.public_key_path: {missing} cannot be read (No such file or directory): correct "
        "the path or its rights"
    )
    reason = refusal(tmp_path, algorithm="RS256", public_key_path=wrong)
    assert reason.startswith("auth.jwt.public_key_path: ")
    assert "hunter2" not in reason
    assert refusal(tmp_path, secret_file=wrong).startswith("auth.jwt.secret_file: it has 7 bytes")
    assert refusal(tmp_path, secret="change-me").startswith("auth.jwt.secret: it has 9 bytes")
    assert refusal(tmp_path, jwks_file=wrong).startswith("auth.jwt.jwks_file: it is no JWKS")
    assert refusal(tmp_path, jwks='{"keys": []}').startswith("auth.jwt.jwks: it holds no public")
    # A key that is sound, and of another kind than the algorithm.
    assert "no key given is for ES384" in refusal(
        tmp_path, algorithm="ES384", ec_public_key_path=curve
    )
    assert "no key given is for HS512" in refusal(tmp_path, algorithm="HS512", secret="s" * 40)


def test_a_secret_of_hmac_digests_is_no_word(tmp_path):
    file = tmp_path / "secret"
    file.write_text("s" * 31 + "\n")
    with pytest.raises(ConfigurationError, match="it has 31 bytes"):
        read_hmac_secret(file)

    file.write_text("s" * 32 + "\n")

    assert read_hmac_secret(file) == b"s" * 32
    assert read_hmac_secret(None) is None
