"""Pods log in with the token of their ServiceAccount, and with no Secret."""

import json

import pytest
from amaters_server.config.security.authentication import AuthSection
from amaters_server.identity.authenticator import Authenticator
from amaters_server.identity.credentials import Credentials
from amaters_server.identity.jwks import UrlSource
from amaters_server.identity.methods import read_methods
from amaters_server.model.errors import AuthenticationError, CredentialExpiredError
from amaters_server.model.principal import Principal, PrincipalKind
from amaters_server.testing.clock import ManualClock
from amaters_server.testing.tokens import Signer, jwks, new_key

NOW = 1_800_000_000
ISSUER = "https://kubernetes.default.svc.cluster.local"
KEY, OTHER = new_key("RS256"), new_key("ES256")
SHOP = "system:serviceaccount:shop:cart"


def section(**given: object) -> dict[str, object]:
    return {
        "enabled": True,
        "audience": "amaters",
        "jwks": jwks(api=KEY),
        "roles": {
            "system:serviceaccount:shop:*": ["user"],
            "system:serviceaccount:shop:audit": ["reader"],
            "system:serviceaccount:team-*:app": ["reader"],
        },
        **given,
    }


def authenticator(kubernetes: dict[str, object], jwt: dict[str, object] | None = None):
    auth = {"enabled": True, "methods": ["kubernetes", "jwt"], "kubernetes": kubernetes}
    clock = ManualClock(NOW)
    settings = AuthSection.model_validate({**auth, "jwt": jwt or {}})
    return Authenticator(read_methods(settings, clock), clock)


def pod(subject: str = SHOP, **claims: object) -> str:
    given = {"iss": ISSUER, "aud": ["amaters"], "sub": subject, "exp": NOW + 3600}
    return Signer("RS256", KEY, "api").token({**given, **claims})


async def login(node: Authenticator, token: str) -> Principal:
    return await node.authenticate(Credentials("192.0.2.1", token=token))


async def test_a_pod_is_its_service_account_and_has_the_roles_of_its_namespace():
    found = await login(authenticator(section()), pod(roles=["admin"], name="root"))

    assert found == Principal(SHOP, PrincipalKind.KUBERNETES, ("user",), NOW + 3600)


@pytest.mark.parametrize(
    ("subject", "roles"),
    [
        ("system:serviceaccount:shop:audit", ("user", "reader")),
        ("system:serviceaccount:team-a:app", ("reader",)),
    ],
)
async def test_all_patterns_that_match_add_their_roles(subject, roles):
    assert (await login(authenticator(section()), pod(subject))).roles == roles


@pytest.mark.parametrize(
    "subject",
    [
        "system:serviceaccount:other:cart",
        "system:serviceaccount:workshop:cart",
        "system:serviceaccount:team-a:other",
        "system:serviceaccount:team-a:app:app",
        "system:serviceaccount:shop",
        "system:serviceaccount:",
        "system:node:shop",
        "shop:cart",
    ],
)
async def test_a_pod_without_a_role_is_refused(subject):
    with pytest.raises(
        AuthenticationError, match=r"has no role here|is no system:service"
    ) as raised:
        await login(authenticator(section()), pod(subject))

    assert type(raised.value) is AuthenticationError


async def test_even_a_pattern_for_all_maps_service_accounts_only():
    node = authenticator(section(roles={"*": ["reader"]}))

    assert (await login(node, pod("system:serviceaccount:any:one"))).roles == ("reader",)
    with pytest.raises(AuthenticationError):
        await login(node, pod("system:kube-scheduler"))


@pytest.mark.parametrize("audience", [ISSUER, ["vault"], None])
async def test_a_token_for_another_service_is_refused(audience):
    with pytest.raises(AuthenticationError, match="`aud` claim is not amaters"):
        await login(authenticator(section()), pod(aud=audience))


async def test_an_old_token_without_an_end_is_refused_and_an_expired_one_says_so():
    with pytest.raises(AuthenticationError, match="`exp`"):
        await login(authenticator(section()), pod(exp=None))
    with pytest.raises(CredentialExpiredError):
        await login(authenticator(section()), pod(exp=NOW))


async def test_the_issuer_decides_which_keys_count_and_never_mixes_them():
    """Neither issuer can speak for the other, whatever it signs."""
    jwt = {
        "enabled": True,
        "algorithms": ["ES256", "RS256"],
        "jwks": jwks(own=OTHER, rsa=new_key("RS256")),
        "issuer": "https://issuer",
        "audience": "amaters",
    }
    node = authenticator(section(), jwt)
    claims = {"iss": "https://issuer", "aud": "amaters", "sub": "ada", "exp": NOW + 60}
    own = Signer("ES256", OTHER, "own")

    assert (await login(node, own.token(claims))).kind is PrincipalKind.JWT
    assert (await login(node, pod())).kind is PrincipalKind.KUBERNETES
    for forged in (own.token({**claims, "iss": ISSUER, "sub": SHOP}), pod(iss="https://issuer")):
        with pytest.raises(AuthenticationError):
            await login(node, forged)


async def test_without_keys_given_they_come_from_the_api_server_with_the_pods_own_token():
    given = section(token_file="/token", ca_file="/ca")
    del given["jwks"]

    [keys] = authenticator(given).methods.fetched()

    source = keys.source
    assert isinstance(source, UrlSource)
    assert source.url == "https://kubernetes.default.svc/openid/v1/jwks"
    assert (str(source.token_file), str(source.ca_file)) == ("/token", "/ca")


async def test_a_reload_keeps_what_was_fetched_from_the_same_place_only():
    given = section()
    del given["jwks"]
    node = authenticator(given)
    [before] = node.methods.fetched()
    clock = ManualClock(NOW)

    for url, same in ((before.source.url, True), ("https://elsewhere/keys", False)):
        auth = {"enabled": True, "methods": ["kubernetes"]}
        settings = AuthSection.model_validate({**auth, "kubernetes": {**given, "jwks_url": url}})
        node.replace(read_methods(settings, clock, before=node.methods))

        [after] = node.methods.fetched()
        assert (after is before) is same


def test_tokens_of_shared_secrets_are_none_of_kubernetes():
    check = authenticator(section()).methods.kubernetes

    assert check is not None
    assert not {"HS256", "HS384", "HS512"} & check.algorithms
    assert json.loads(jwks(api=KEY))["keys"][0]["kid"] == "api"


@pytest.mark.parametrize(
    "subject",
    [
        "system:serviceaccount:shop:",
        "system:serviceaccount::cart",
        "system:serviceaccount:shop:*",
        "system:serviceaccount:*:cart",
        "system:serviceaccount:Shop:cart",
        "system:serviceaccount:shop:cart ",
        "system:serviceaccount:shop:-cart",
    ],
)
async def test_a_subject_that_kubernetes_could_not_have_named_is_refused(subject):
    node = authenticator(section(roles={"*": ["reader"]}))

    with pytest.raises(AuthenticationError, match="is no system:serviceaccount"):
        await login(node, pod(subject))


@pytest.mark.parametrize("claims", [{"sub": SHOP}, {"sub": "ada", "name": SHOP}])
async def test_the_token_of_another_issuer_cannot_have_the_name_of_a_pod(claims):
    """In the audit log both have the method JWT, so only the name tells them apart."""
    secret = "s" * 32
    token = Signer("HS256", secret.encode()).token({**claims, "exp": NOW + 60})
    jwt = {"enabled": True, "secret": secret}

    with pytest.raises(AuthenticationError, match="is named by Kubernetes alone"):
        await login(authenticator(section(), jwt), token)
    # Where the API server is that other issuer, its names are the true ones.
    found = await login(authenticator({"enabled": False}, jwt), token)
    assert found.name == SHOP
