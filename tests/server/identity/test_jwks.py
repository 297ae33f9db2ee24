"""Keys at the issuer: fetched when they are needed, seldom, and kept while it is away."""

import asyncio
import gzip
import json
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from amaters_server.identity.authenticator import Authenticator, Methods
from amaters_server.identity.claims import ClaimRules
from amaters_server.identity.credentials import Credentials
from amaters_server.identity.jwks import FetchedKeys, KeyRing, UrlSource
from amaters_server.identity.jws import Unverified, of_jwks, of_pem
from amaters_server.identity.tokens import TokenCheck, bearer
from amaters_server.model.errors import AuthenticationError
from amaters_server.testing.clock import ManualClock
from amaters_server.testing.tokens import Signer, jwk, jwks, new_key, public_pem

ALGORITHM = "EdDSA"
FIRST, SECOND = new_key(ALGORITHM), new_key(ALGORITHM)
START = 1_800_000_000


@dataclass
class Issuer:
    """A source that a test changes; it counts requests."""

    document: str | Exception = ""
    requests: int = 0
    place: str = "issuer"
    answering: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self):
        self.answering.set()

    async def fetch(self) -> bytes:
        self.requests += 1
        await self.answering.wait()
        if isinstance(self.document, Exception):
            raise self.document
        return self.document.encode()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(jwks(first=FIRST))


@pytest.fixture
def keys(issuer, clock) -> FetchedKeys:
    return FetchedKeys(issuer, clock.now)


async def ids(keys: FetchedKeys, key_id: str | None) -> list[str | None]:
    token = Unverified(ALGORITHM, key_id, None)
    return [key.id for key in await KeyRing(fetched=keys).matching(token)]


async def test_the_first_token_fetches_the_keys_and_the_next_one_does_not(keys, issuer):
    assert await ids(keys, "first") == ["first"]
    assert await ids(keys, "first") == ["first"]

    assert issuer.requests == 1


async def test_a_token_that_names_no_key_has_eight_of_them_tried(keys, issuer):
    issuer.document = jwks(**{str(number): FIRST for number in range(20)})

    assert len(await ids(keys, None)) == 8
    assert await ids(keys, "19") == ["19"]


async def test_unknown_key_ids_cause_one_request_in_thirty_seconds(keys, issuer, clock):
    for number in range(100):
        assert await ids(keys, f"made up {number}") == []
        clock.seconds += 0.3

    assert issuer.requests == 1

    clock.seconds += 1
    assert await ids(keys, "made up") == []

    assert issuer.requests == 2


async def test_a_new_key_of_the_issuer_is_found(keys, issuer, clock):
    await ids(keys, "first")
    issuer.document = jwks(first=FIRST, second=SECOND)
    clock.seconds += 31

    assert await ids(keys, "second") == ["second"]


@pytest.mark.parametrize("failure", [OSError("away"), "", "[]", "{", '{"keys": {}}', "[" * 100_000])
async def test_known_keys_serve_while_the_issuer_is_away(keys, issuer, clock, failure):
    await ids(keys, "first")
    issuer.document = failure
    clock.seconds += 86_400

    await keys.refresh()

    assert issuer.requests == 2
    assert await ids(keys, "first") == ["first"]


async def test_all_who_wait_share_one_request_and_one_who_leaves_does_not_end_it(keys, issuer):
    issuer.answering.clear()
    waiting = [asyncio.create_task(ids(keys, "first")) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)

    issuer.answering.set()

    assert await asyncio.gather(*waiting[1:]) == [["first"]] * 4
    assert issuer.requests == 1


async def test_keys_are_fetched_again_every_ten_minutes(keys, issuer, clock):
    await keys.refresh()
    clock.seconds += 599
    await keys.refresh()
    assert issuer.requests == 1

    clock.seconds += 1
    await keys.refresh()

    assert issuer.requests == 2


@pytest.mark.parametrize("after", [jwks(second=SECOND), jwks(first=SECOND)])
async def test_a_removed_key_ends_the_logins_made_with_it(keys, issuer, clock, after):
    rules = ClaimRules()
    check = TokenCheck(KeyRing(fetched=keys), frozenset({ALGORITHM}), rules, bearer)
    node = Authenticator(Methods(jwt=check), clock)
    claims = {"sub": "a", "exp": START + 86_400}
    credentials = Credentials("192.0.2.1", token=Signer(ALGORITHM, FIRST, "first").token(claims))
    await node.authenticate(credentials)
    generation = node.generation
    issuer.document = after
    clock.seconds += 600

    await keys.refresh()

    assert node.known(credentials) is None
    assert node.generation > generation
    with pytest.raises(AuthenticationError):
        await node.authenticate(credentials)


async def test_a_set_has_at_most_64_keys_and_256_kib(keys, issuer, clock, serve):
    issuer.document = json.dumps({"keys": [{}] * 65})
    assert await ids(keys, "first") == []

    url = await serve(" " * (256 * 1024 + 1))

    with pytest.raises(ValueError, match="more than 262144 bytes"):
        await UrlSource(url).fetch()


@pytest.fixture
async def serve():
    """Serve a text, or a redirection, at an address; tell who asked."""
    runners = []

    async def start(
        text: str | bytes,
        headers: list[str] | None = None,
        status: int = 200,
        encoding: str = "",
    ) -> str:
        async def answer(request: web.Request) -> web.Response:
            if headers is not None:
                headers.append(request.headers.get("Authorization", ""))
            fields = {"Location": "http://127.0.0.1:1/"} if status == 302 else {}
            if encoding:
                fields["Content-Encoding"] = encoding
            body = text.encode() if isinstance(text, str) else text
            return web.Response(body=body, status=status, headers=fields)

        app = web.Application()
        app.router.add_get("/keys", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/keys"

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_keys_come_from_an_address(serve, clock):
    keys = FetchedKeys(UrlSource(await serve(jwks(first=FIRST))), clock.now)

    assert await ids(keys, "first") == ["first"]


async def test_the_token_of_the_pod_is_read_for_every_request(serve, tmp_path):
    seen: list[str] = []
    file = tmp_path / "token"
    source = UrlSource(await serve(jwks(first=FIRST), seen), token_file=file)
    for text in ("one\n", "two\n"):
        file.write_text(text)
        await source.fetch()

    assert seen == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize("status", [302, 401, 500])
async def test_neither_a_redirection_nor_an_error_is_followed(serve, status):
    with pytest.raises(ValueError, match=f"it answered {status}"):
        await UrlSource(await serve("", status=status)).fetch()


@pytest.mark.parametrize("source", [
    UrlSource("http://127.0.0.1:1/keys"),
    UrlSource("http://127.0.0.1:1/keys", token_file=Path("/nowhere")),
    UrlSource("http://127.0.0.1:1/keys", ca_file=Path("/nowhere")),
])  # fmt: skip
async def test_an_issuer_that_is_away_or_a_missing_file_fails_one_request(source, clock):
    keys = FetchedKeys(source, clock.now)

    assert await ids(keys, "first") == []


async def test_running_fetches_at_once_and_ends_its_request_when_stopped(issuer, keys, clock):
    check = TokenCheck(KeyRing(fetched=keys), frozenset({ALGORITHM}), ClaimRules(), bearer)
    node = Authenticator(Methods(jwt=check), clock)
    issuer.answering.clear()
    running = asyncio.create_task(node.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert issuer.requests == 1
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "jwks"]


async def test_a_new_key_is_fetched_although_a_key_file_could_have_signed(keys, issuer, clock):
    """A key from a PEM file has no id, so it may be the one that a token names."""
    issuer.document = jwks(first=FIRST, second=SECOND)
    ring = KeyRing((of_pem(public_pem(new_key(ALGORITHM))),), keys)

    found = await ring.matching(Unverified(ALGORITHM, "second", None))

    assert [key.id for key in found] == [None, "second"]
    await ring.matching(Unverified(ALGORITHM, "third", None))
    await ring.matching(Unverified(ALGORITHM, None, None))
    assert issuer.requests == 1


async def test_two_keys_with_one_id_are_both_tried(keys, issuer):
    issuer.document = json.dumps({"keys": [jwk(FIRST, "a"), jwk(SECOND, "a")]})

    assert await ids(keys, "a") == ["a", "a"]


async def test_an_answer_that_inflates_is_not_inflated(serve):
    """256 KiB of zeros in gzip are 256 MiB."""
    url = await serve(gzip.compress(bytes(200_000_000), 9), encoding="gzip")

    tracemalloc.start()
    with pytest.raises(ValueError):  # noqa: PT011 What it says is not JSON, or too long.
        of_jwks(await UrlSource(url).fetch())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 4_000_000


async def test_who_waits_for_keys_when_the_node_stops_is_refused_and_not_cancelled(keys, issuer):
    issuer.answering.clear()
    waiting = asyncio.create_task(ids(keys, "first"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    keys.close()

    assert await waiting == []


async def test_a_source_that_fails_in_an_unknown_way_does_not_end_the_refreshes(
    keys, issuer, caplog
):
    issuer.document = RuntimeError("a defect")

    await keys.refresh()

    assert keys.keys == ()
    assert [record.message for record in caplog.records] == ["jwks.failed"]
