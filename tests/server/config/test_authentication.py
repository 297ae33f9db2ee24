"""The section about authentication: what a method in force lacks is named with its key."""

import pytest
from amaters_server.config.sections import NetworkSection
from amaters_server.config.security.authentication import AuthSection, contradictory, doubtful
from pydantic import ValidationError

SECRET = "s" * 32
MUTUAL = NetworkSection(tls_enabled=True, require_client_cert=True)


def faults(auth: dict[str, object], network: NetworkSection | None = None) -> list[str]:
    section = AuthSection.model_validate({"enabled": True, **auth})
    return [fault.key for fault in contradictory(section, network or NetworkSection())]


def jwt(**given: object) -> dict[str, object]:
    return {"methods": ["jwt"], "jwt": {"enabled": True, **given}}


def kubernetes(**given: object) -> dict[str, object]:
    return {"methods": ["kubernetes"], "kubernetes": {"enabled": True, **given}}


@pytest.mark.parametrize(
    "auth",
    [
        jwt(secret=SECRET),
        jwt(secret_file="/secret"),
        jwt(algorithm="RS256", public_key_path="/key"),
        jwt(algorithm="ES384", ec_public_key_path="/key"),
        jwt(algorithm="EdDSA", ed_public_key_path="/key"),
        jwt(algorithms=["RS256", "ES256", "EdDSA"], jwks_url="https://issuer/keys"),
        jwt(algorithm="RS512", jwks_url="http://127.0.0.1:8080/keys"),
        kubernetes(audience="amaters", roles={"system:serviceaccount:shop:*": ["user"]}),
        {"methods": ["api_key"], "api_key": {"enabled": True, "keys_file": "/keys"}},
    ],
)
def test_what_is_complete_is_accepted(auth):
    assert faults(auth) == []


@pytest.mark.parametrize(
    ("auth", "keys"),
    [
        ({}, ["auth.methods"]),
        ({"methods": ["jwt"]}, ["auth.methods"]),
        (
            {"methods": [], "jwt": {"enabled": True, "secret": SECRET}},
            ["auth.methods", "auth.jwt.enabled"],
        ),
        ({"mtls": {"enabled": True}}, ["auth.mtls.enabled"]),
        (jwt(), ["auth.jwt.secret"]),
        (jwt(jwks_url="https://issuer/keys"), ["auth.jwt.secret"]),
        (jwt(algorithm="RS256", secret=SECRET), ["auth.jwt.public_key_path"]),
        (
            jwt(algorithms=["ES256", "EdDSA"]),
            ["auth.jwt.ec_public_key_path", "auth.jwt.ed_public_key_path"],
        ),
        (jwt(secret=SECRET, secret_file="/s"), ["auth.jwt.secret_file"]),
        (kubernetes(), ["auth.kubernetes.audience", "auth.kubernetes.roles"]),
        ({"methods": ["api_key"], "api_key": {"enabled": True}}, ["auth.api_key.keys_file"]),
    ],
)
def test_what_is_missing_is_named(auth, keys):
    assert faults(auth) == keys


def test_certificates_name_callers_only_where_the_listener_demands_them():
    auth = {"mtls": {"enabled": True}}

    assert faults(auth, MUTUAL) == []
    assert faults(auth, NetworkSection(tls_enabled=True)) == ["auth.mtls.enabled"]


def test_a_section_that_is_not_enabled_lacks_nothing():
    off = AuthSection.model_validate({"enabled": False, "jwt": {"enabled": True}})

    assert list(contradictory(off, NetworkSection())) == []


@pytest.mark.parametrize(
    "auth",
    [
        {"jwt": {"jwks_url": "http://issuer/keys"}},
        {"jwt": {"jwks_url": "file:///keys"}},
        {"jwt": {"algorithm": "none"}},
        {"jwt": {"algorithms": ["HS256", "none"]}},
        {"kubernetes": {"jwks_url": "http://kubernetes.default.svc/openid/v1/jwks"}},
        {"api_key": {"header_name": "authorization"}},
        {"api_key": {"header_name": "X API Key"}},
        {"failures_per_minute": 0},
    ],
)
def test_what_would_open_the_door_is_no_value(auth):
    with pytest.raises(ValidationError):
        AuthSection.model_validate(auth)


def test_what_is_probably_unintended_is_named():
    auth = AuthSection.model_validate({"enabled": True, **jwt(secret=SECRET, expiration_secs=60)})

    assert [text.partition(" ")[0] for text in doubtful(auth, NetworkSection())] == [
        "auth.jwt.expiration_secs",
        "auth:",
    ]
    assert len(list(doubtful(auth, MUTUAL))) == 1
    assert list(doubtful(AuthSection(), NetworkSection())) == []


@pytest.mark.parametrize(
    "name", ["x-key-bin", "grpc-timeout", "User-Agent", "te", "host", "a b", ""]
)
def test_a_header_that_cannot_carry_a_key_is_refused(name):
    with pytest.raises(ValidationError, match="can carry a key"):
        AuthSection.model_validate({"api_key": {"header_name": name}})


def test_a_header_of_ones_own_carries_a_key():
    assert AuthSection.model_validate({"api_key": {"header_name": "X-My_Key"}})
