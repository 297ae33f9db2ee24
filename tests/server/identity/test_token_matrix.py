"""Every algorithm against everything that may be wrong with a token."""

import json

import pytest
from amaters_server.config.security.authentication import AuthSection
from amaters_server.identity.authenticator import Authenticator
from amaters_server.identity.credentials import Credentials
from amaters_server.identity.jws import of_jwks
from amaters_server.identity.methods import read_methods
from amaters_server.model.errors import AuthenticationError
from amaters_server.model.principal import Principal, PrincipalKind
from amaters_server.rpc.transport.status import response
from amaters_server.testing.clock import ManualClock
from amaters_server.testing.tokens import Signer, SigningKey, jwks, new_key, public_pem

ALGORITHMS = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "EdDSA"]
NOW = 1_800_000_000
GOOD = {
    "iss": "https://issuer",
    "aud": ["other", "amaters"],
    "sub": "7f",
    "name": "Ada",
    "roles": ["reader"],
    "exp": NOW + 300,
}
PATHS = {"RS": "public_key_path", "ES": "ec_public_key_path", "Ed": "ed_public_key_path"}


@pytest.fixture(scope="module")
def keys() -> dict[str, SigningKey]:
    return {name: new_key(name) for name in ALGORITHMS}


@pytest.fixture(scope="module")
def others() -> dict[str, SigningKey]:
    return {
        name: bytes(reversed(key)) if isinstance(key := new_key(name), bytes) else key
        for name in ALGORITHMS
    }


def authenticator(tmp_path, algorithms: list[str], **given: object) -> Authenticator:
    jwt = {
        "enabled": True,
        "algorithms": algorithms,
        "issuer": "https://issuer",
        "audience": "amaters",
        "leeway_secs": 5,
        **given,
    }
    auth = AuthSection.model_validate({"enabled": True, "methods": ["jwt"], "jwt": jwt})
    clock = ManualClock(NOW)
    return Authenticator(read_methods(auth, clock), clock)


def with_pem(tmp_path, algorithm: str, key: SigningKey) -> Authenticator:
    path = tmp_path / "key"
    path.write_bytes(public_pem(key))
    where = PATHS.get(algorithm[:2], "secret_file")
    return authenticator(tmp_path, [algorithm], **{where: path})


async def login(node: Authenticator, token: str) -> Principal:
    return await node.authenticate(Credentials("192.0.2.1", token=token))


async def refusal(node: Authenticator, token: str) -> tuple[int, str]:
    with pytest.raises(AuthenticationError) as raised:
        await login(node, token)
    assert token not in str(raised.value)
    assert node.known(Credentials("192.0.2.1", token=token)) is None
    answer = response(raised.value)
    assert answer.category == 3
    return answer.code, answer.message


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_good_token_names_its_bearer(tmp_path, keys, algorithm):
    node = with_pem(tmp_path, algorithm, keys[algorithm])

    found = await login(node, Signer(algorithm, keys[algorithm]).token(GOOD))

    assert found == Principal("Ada", PrincipalKind.JWT, ("reader",), NOW + 305, id="7f")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_another_key_of_the_same_kind_is_refused(tmp_path, keys, others, algorithm):
    node = with_pem(tmp_path, algorithm, keys[algorithm])

    code, text = await refusal(node, Signer(algorithm, others[algorithm]).token(GOOD))

    assert (code, text) == (
        3000,
        "JWT validation failed: the signature is not that of a key known here",
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("audience", ["elsewhere", ["elsewhere"], [], None, 7, {"amaters": 1}])
async def test_a_token_for_another_audience_is_refused(tmp_path, keys, algorithm, audience):
    node = with_pem(tmp_path, algorithm, keys[algorithm])
    claims = {**GOOD, "aud": audience}

    code, text = await refusal(node, Signer(algorithm, keys[algorithm]).token(claims))

    assert code == 3000
    assert "the `aud` claim is not amaters" in text


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_an_expired_token_says_so_with_a_code_of_its_own(tmp_path, keys, algorithm):
    node = with_pem(tmp_path, algorithm, keys[algorithm])
    claims = {**GOOD, "exp": NOW - 5}

    code, text = await refusal(node, Signer(algorithm, keys[algorithm]).token(claims))

    assert (code, text) == (
        3001,
        "JWT validation failed: the token expired 5 s ago: get a new one",
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("none", ["none", "None", "NONE", "", None, 0, ["none"], {}])
async def test_a_token_without_a_signature_is_refused(tmp_path, keys, algorithm, none):
    node = with_pem(tmp_path, algorithm, keys[algorithm])

    code, text = await refusal(node, Signer("none", b"").token(GOOD, alg=none))

    assert code == 3000
    assert "its algorithm is not accepted" in text


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_signature_cut_off_is_refused(tmp_path, keys, algorithm):
    node = with_pem(tmp_path, algorithm, keys[algorithm])
    token = Signer(algorithm, keys[algorithm]).token(GOOD)

    code, _ = await refusal(node, token.rpartition(".")[0] + ".")

    assert code == 3000


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("swapped", ["HS256", "HS384", "HS512"])
async def test_a_public_key_is_never_a_shared_secret(tmp_path, keys, algorithm, swapped):
    """The token is signed by HMAC with what everyone may know: the bytes of the public key."""
    public = public_pem(keys[algorithm])
    where = PATHS.get(algorithm[:2], "secret_file")
    (tmp_path / "key").write_bytes(public)
    (tmp_path / "secret").write_bytes(new_key("HS384"))
    # All algorithms are accepted here, those of shared secrets too.
    given = {where: tmp_path / "key", "secret_file": tmp_path / "secret"}
    node = authenticator(tmp_path, list({algorithm, swapped}), **given)
    forged = Signer(swapped, public[:-1] if algorithm.startswith("HS") else public)

    code, _ = await refusal(node, forged.token(GOOD))

    assert code == 3000


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_an_algorithm_that_is_not_listed_is_refused_though_its_key_is_known(
    tmp_path, keys, algorithm
):
    (tmp_path / "secret").write_bytes(keys["HS512"])
    listed = "HS512" if algorithm != "HS512" else "HS384"
    asymmetric = {name: key for name, key in keys.items() if not name.startswith("HS")}
    node = authenticator(
        tmp_path, [listed], jwks=jwks(**asymmetric), secret_file=tmp_path / "secret"
    )
    key = keys["HS512"] if algorithm.startswith("HS") else keys[algorithm]

    code, text = await refusal(node, Signer(algorithm, key, algorithm).token(GOOD))

    assert (code, text) == (
        3000,
        f"JWT validation failed: its algorithm is not accepted: sign it with {listed}",
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS[3:])
async def test_an_unknown_key_id_is_refused(tmp_path, keys, algorithm):
    node = authenticator(tmp_path, [algorithm], jwks=jwks(known=keys[algorithm]))
    good = Signer(algorithm, keys[algorithm], "known")
    bad = Signer(algorithm, keys[algorithm], "unknown")

    code, text = await refusal(node, bad.token(GOOD))

    assert code == 3000
    assert "no key known here has the token's key id" in text
    assert (await login(node, good.token(GOOD))).id == "7f"


@pytest.mark.parametrize("algorithm", ALGORITHMS[:3])
async def test_a_key_id_says_nothing_about_a_shared_secret(tmp_path, keys, algorithm):
    node = with_pem(tmp_path, algorithm, keys[algorithm])

    found = await login(node, Signer(algorithm, keys[algorithm], "any").token(GOOD))

    assert found.id == "7f"


@pytest.mark.parametrize("algorithm", ALGORITHMS[3:])
async def test_a_key_id_with_another_algorithm_is_refused(tmp_path, keys, algorithm):
    """A set binds each key to its kind, whatever the token says."""
    accepted = ALGORITHMS[3:]
    others = {name: key for name, key in keys.items() if name in accepted}
    node = authenticator(tmp_path, accepted, jwks=jwks(**others, known=keys[algorithm]))
    swapped = next(name for name in accepted if name[:2] != algorithm[:2])

    code, _ = await refusal(node, Signer(swapped, keys[swapped], "known").token(GOOD))

    assert code == 3000


def test_shared_secrets_in_a_set_are_passed_over(keys):
    found = of_jwks(jwks(a=keys["HS256"], b=keys["ES256"]))

    assert [key.id for key in found] == ["b"]


def test_a_key_of_a_set_is_bound_to_the_algorithm_that_it_names(keys):
    document = json.loads(jwks(a=keys["RS256"], b=keys["RS384"], c=keys["RS512"]))
    document["keys"][0]["alg"] = "RS512"
    document["keys"][1]["alg"] = "RSA-OAEP"
    document["keys"][2]["use"] = "enc"

    found = of_jwks(json.dumps(document))

    assert [(key.id, key.algorithms) for key in found] == [("a", {"RS512"}), ("b", set())]
