"""Every kind of token that must not pass, for every algorithm, as a client sees it refused."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import grpc
import pytest
from amaters.wire import aql_pb2, errors_pb2
from amaters_server.testing.tokens import Signer, jwks, new_key, public_pem

ALGORITHMS = [f"{kind}{size}" for kind in ("HS", "RS") for size in (256, 384, 512)]
ALGORITHMS += ["ES256", "ES384", "EdDSA"]
FAILED, EXPIRED = errors_pb2.ERROR_AUTH_FAILED, errors_pb2.ERROR_AUTH_EXPIRED
KEYS = {name: new_key(name) for name in ALGORITHMS}


def claims(**changed: object) -> dict[str, object]:
    made = {
        "sub": "ann",
        "exp": int(time.time()) + 600,
        "iss": "https://issuer",
        "aud": "amaters",
        "roles": ["admin"],
        **changed,
    }
    return {name: value for name, value in made.items() if value is not None}


def without_signature(token: str) -> str:
    return token.rpartition(".")[0] + "."


def with_other_claims(signer: Signer) -> str:
    head, _, signature = signer.token(claims(roles=["reader"])).split(".")
    return f"{head}.{signer.token(claims()).split('.')[1]}.{signature}"


REFUSED: dict[str, tuple[Callable[[Signer], str], int]] = {
    "wrong key": (lambda one: replace(one, key=new_key_beside(one)).token(claims()), FAILED),
    "wrong audience": (lambda one: one.token(claims(aud="other")), FAILED),
    "no audience": (lambda one: one.token(claims(aud=None)), FAILED),
    "wrong issuer": (lambda one: one.token(claims(iss="https://other")), FAILED),
    "expired": (lambda one: one.token(claims(exp=int(time.time()) - 600)), EXPIRED),
    "without an end": (lambda one: one.token(claims(exp=None)), FAILED),
    "not yet valid": (lambda one: one.token(claims(nbf=int(time.time()) + 600)), FAILED),
    "algorithm none": (lambda one: replace(one, algorithm="none").token(claims()), FAILED),
    "no signature": (lambda one: without_signature(one.token(claims())), FAILED),
    "other claims": (with_other_claims, FAILED),
    "HS256 with what is public": (
        lambda one: Signer("HS256", public_pem(one.key), one.key_id).token(claims()),
        FAILED,
    ),
    "another algorithm in its header": (lambda one: one.token(claims(), alg=other(one)), FAILED),
    "unknown key id": (lambda one: replace(one, key_id="unknown").token(claims()), FAILED),
}


def new_key_beside(signer: Signer):
    return b"x" * 64 if isinstance(signer.key, bytes) else new_key(signer.algorithm)


def other(signer: Signer) -> str:
    return "HS512" if signer.algorithm == "HS384" else "HS384"


async def codes(guarded, ask, token: str) -> tuple[int, int, list[str]]:
    """Return the in-band codes of a query and a batch, and the statuses of the other calls."""
    stub, headers = guarded.served.stub, (("authorization", f"Bearer {token}"),)
    request = ask.request(ask.get(b"k"))
    query = await stub.ExecuteQuery(request, metadata=headers)
    batch = await stub.ExecuteBatch(ask.batch(ask.set(b"k", b"v")), metadata=headers)
    statuses = []
    for call in (
        stub.GetServerInfo(aql_pb2.ServerInfoRequest(), metadata=headers),
        stub.ExecuteStream(request, metadata=headers).read(),
    ):
        try:
            await call
            statuses.append("OK")
        except grpc.aio.AioRpcError as error:
            statuses.append(
                f"{error.code().name} {dict(error.trailing_metadata())['amaters-code']}"
            )
    interactive = stub.ExecuteInteractive(iter([request]), metadata=headers, timeout=10)
    answers = [answer.error.code async for answer in interactive]
    return query.error.code, batch.error.code, [*statuses, *map(str, answers)]


@pytest.fixture(params=ALGORITHMS)
async def issued(request, guarding_with):
    """A server that accepts the algorithm alone, and what signs for it."""
    name = request.param
    key = KEYS[name]
    signer = Signer(name, key, "k1")
    jwt: dict[str, object] = {"algorithm": name, "issuer": "https://issuer", "audience": "amaters"}
    if isinstance(key, bytes):
        signer = Signer(name, b"s" * 64)
        jwt["secret"] = "s" * 64
    else:
        jwt["jwks"] = jwks(k1=key)
    async with guarding_with(jwt=jwt) as guarded:
        yield guarded, signer


async def test_a_good_token_passes_by_every_way(issued, ask):
    guarded, signer = issued

    assert await codes(guarded, ask, signer.token(claims())) == (0, 0, ["OK", "OK", "0"])


async def test_a_token_that_must_not_pass_has_its_code_by_every_way(issued, ask):
    guarded, signer = issued
    stable = {FAILED: "unauthenticated", EXPIRED: "credential_expired"}
    for name, (made, code) in REFUSED.items():
        if isinstance(signer.key, bytes) and name in {
            "unknown key id",
            "HS256 with what is public",
        }:
            continue  # A secret is not public, and has no key id.
        found = await codes(guarded, ask, made(signer))
        status = f"UNAUTHENTICATED {stable[code]}"
        assert found == (code, code, [status, status, str(code)]), name
    assert guarded.served.database.writes == guarded.served.database.reads == []


async def test_failures_of_one_address_are_limited_and_its_verified_callers_are_not(
    guarding_with, ask, tmp_path
):
    (tmp_path / "keys.json").write_text("[]")
    auth = {
        "methods": ["jwt", "api_key"],
        "api_key": {"enabled": True, "keys_file": tmp_path / "keys.json"},
        "failures_per_minute": 5,
    }
    async with guarding_with(auth=auth) as guarded:
        stub, good = guarded.served.stub, guarded.headers("user")
        request = ask.request(ask.get(b"k"))
        await stub.ExecuteQuery(request, metadata=good)

        async def bad(number: int) -> aql_pb2.QueryResponse:
            return await stub.ExecuteQuery(request, metadata=(("x-api-key", f"amk_{number}"),))

        answers = await asyncio.gather(*map(bad, range(30)))
        errors = [answer.error.code for answer in answers]
        overloaded = errors_pb2.ERROR_SERVER_OVERLOADED
        turned_away = [one for one in answers if one.error.code == overloaded]

        assert errors.count(FAILED) == 5
        assert len(turned_away) == 25
        assert all(one.error.retry_after > 0 for one in turned_away)
        assert (await stub.ExecuteQuery(request, metadata=good)).error.code == 0
        assert guarded.authenticator.counts.turned_away == 25
