"""Calls over one connection: the one who called before is recognised, and no other."""

from dataclasses import replace

import pytest
from amaters_server.identity.api_keys import ApiKeys, hash_text, parsed
from amaters_server.identity.authenticator import Authenticator, Methods
from amaters_server.identity.claims import ClaimRules
from amaters_server.identity.connection import ConnectionCallers
from amaters_server.identity.jwks import KeyRing
from amaters_server.identity.jws import of_secret
from amaters_server.identity.tokens import TokenCheck, bearer
from amaters_server.model.errors import AuthenticationError, TooManyFailuresError
from amaters_server.model.principal import ANONYMOUS
from amaters_server.testing.clock import ManualClock
from amaters_server.testing.tokens import Signer

NOW = 1_800_000_000
SECRET = b"s" * 32
KEY = ("x-api-key", "hunter2")


def methods(*, anonymous: bool = False) -> Methods:
    check = TokenCheck(
        KeyRing((of_secret(SECRET),)), frozenset({"HS256"}), ClaimRules(), bearer
    )  # fmt: skip
    entry = f'[{{"id": "job", "key_hash": "{hash_text("hunter2")}"}}]'
    keys = ApiKeys(parsed(entry, hashed=True))
    return Methods(jwt=check, api_keys=keys, anonymous=anonymous)


def bearing(subject: str, lasts: int = 60) -> tuple[str, str]:
    token = Signer("HS256", SECRET).token({"sub": subject, "exp": NOW + lasts})
    return ("authorization", f"Bearer {token}")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def node(clock) -> Authenticator:
    return Authenticator(methods(), clock)


@pytest.fixture
def callers(node) -> ConnectionCallers:
    return ConnectionCallers(node, peer="192.0.2.1:40000")


async def test_the_same_credential_is_not_even_digested_again(callers, monkeypatch):
    metadata = [("user-agent", "x"), bearing("ada")]
    assert callers.known(metadata) is None
    first = await callers.authenticate(metadata)
    assert callers.known(metadata) is first
    monkeypatch.setattr("amaters_server.identity.connection.credentials_of", pytest.fail)

    assert callers.known([bearing("ada"), ("te", "trailers")]) is first


async def test_callers_that_share_a_connection_are_told_apart(callers):
    for _ in range(2):
        for header, name in ((bearing("ada"), "ada"), (KEY, "job"), (bearing("grace"), "grace")):
            await callers.authenticate([header])
            found = callers.known([header])
            assert found is not None
            assert found.name == name


async def test_the_last_credential_does_not_count_for_a_call_without_one(callers):
    await callers.authenticate([KEY])
    assert callers.known([KEY]) is not None

    for metadata in (None, [], [("user-agent", "x")], [("x-api-key-2", "hunter2")]):
        assert callers.known(metadata) is None
        with pytest.raises(AuthenticationError, match="No authentication provided"):
            await callers.authenticate(metadata)


async def test_the_header_counts_as_well_as_its_value(callers):
    await callers.authenticate([KEY])
    assert callers.known([KEY]) is not None

    assert callers.known([("authorization", "hunter2")]) is None
    with pytest.raises(AuthenticationError, match="another scheme"):
        await callers.authenticate([("authorization", "hunter2")])


@pytest.mark.parametrize("both", [[KEY, KEY], [KEY, bearing("ada")], [bearing("ada"), KEY]])
async def test_a_known_credential_beside_another_is_refused(callers, both):
    await callers.authenticate([KEY])
    await callers.authenticate([bearing("ada")])
    callers.known([both[0]])

    assert callers.known(both) is None
    with pytest.raises(AuthenticationError, match="send one of token and API key"):
        await callers.authenticate(both)


async def test_a_known_caller_ends_with_its_token(callers, clock):
    await callers.authenticate([bearing("ada")])
    assert callers.known([bearing("ada")]) is not None

    clock.seconds += 60

    assert callers.known([bearing("ada")]) is None


async def test_a_known_caller_ends_when_the_methods_are_replaced(callers, node):
    await callers.authenticate([KEY])
    assert callers.known([KEY]) is not None

    node.replace(Methods(jwt=methods().jwt))

    assert callers.known([KEY]) is None
    with pytest.raises(AuthenticationError, match="not enabled"):
        await callers.authenticate([KEY])


def test_anonymous_callers_are_known_at_once(clock):
    callers = ConnectionCallers(Authenticator(methods(anonymous=True), clock), peer="a:1")

    assert callers.known(None) is ANONYMOUS
    assert callers.known([]) is ANONYMOUS


@pytest.mark.parametrize(
    ("peer", "address"), [("192.0.2.1:40000", "192.0.2.1"), ("[2001:db8::1]:40000", "2001:db8::1")]
)
async def test_failures_count_for_the_address_whatever_the_port(clock, peer, address):
    node = Authenticator(replace(methods(), failures_per_minute=1), clock)
    for number, error in enumerate([AuthenticationError, TooManyFailuresError]):
        callers = ConnectionCallers(node, peer=f"{peer}{number}")

        with pytest.raises(error) as raised:
            await callers.authenticate([("x-api-key", f"wrong {number}")])

    assert f"from {address} have failed" in str(raised.value)


async def test_a_principal_is_current_until_it_ends_or_the_methods_change(callers, node, clock):
    found = await callers.authenticate([bearing("ada")])
    generation = callers.generation
    assert callers.current(found, generation)

    clock.seconds += 60
    assert not callers.current(found, generation)

    clock.seconds -= 60
    node.replace(methods())
    assert not callers.current(found, generation)
