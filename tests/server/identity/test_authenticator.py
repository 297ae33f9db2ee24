"""One credential is checked once; failures are limited; nothing is served by a mistake."""

import pytest
from amaters_server.identity.api_keys import ApiKeys, hash_text, parsed
from amaters_server.identity.authenticator import Authenticator, Methods
from amaters_server.identity.cache import FailureLimit, PrincipalCache, RefusedCache
from amaters_server.identity.certificates import CertificateRules
from amaters_server.identity.claims import ClaimRules
from amaters_server.identity.credentials import Credentials, credentials_of
from amaters_server.identity.jwks import KeyRing
from amaters_server.identity.jws import of_secret, read
from amaters_server.identity.tokens import TokenCheck, bearer
from amaters_server.model.errors import AuthenticationError, TooManyFailuresError
from amaters_server.model.principal import ANONYMOUS, Principal, PrincipalKind
from amaters_server.rpc.transport.status import response
from amaters_server.testing.clock import ManualClock
from amaters_server.testing.tokens import Signer

NOW = 1_800_000_000
SECRET = b"s" * 32
HERE = "192.0.2.1"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def by_token() -> TokenCheck:
    ring = KeyRing((of_secret(SECRET),))
    return TokenCheck(ring, frozenset({"HS256"}), ClaimRules(), bearer)


def by_key() -> ApiKeys:
    entry = f'[{{"id": "k", "key_hash": "{hash_text("hunter2")}"}}]'
    return ApiKeys(parsed(entry, hashed=True))


def token(subject: str = "ada", lasts: int = 60) -> str:
    return Signer("HS256", SECRET).token({"sub": subject, "exp": NOW + lasts})


def bearing(text: str, address: str = HERE) -> Credentials:
    return Credentials(address, token=text)


async def test_a_token_is_verified_once_and_looked_up_from_then_on(clock, monkeypatch):
    node = Authenticator(Methods(jwt=by_token()), clock)
    first = await node.authenticate(bearing(token()))
    monkeypatch.setattr("amaters_server.identity.jws.verified", pytest.fail)

    assert node.known(bearing(token())) is first
    assert await node.authenticate(bearing(token())) is first
    assert (node.counts.succeeded, node.counts.failed) == (1, 0)


async def test_what_was_looked_up_ends_with_the_token(clock):
    node = Authenticator(Methods(jwt=by_token()), clock)
    await node.authenticate(bearing(token()))

    clock.seconds += 59
    assert node.known(bearing(token())) is not None
    clock.seconds += 1

    assert node.known(bearing(token())) is None
    with pytest.raises(AuthenticationError, match="expired"):
        await node.authenticate(bearing(token()))


async def test_a_caller_without_a_credential_is_told_what_to_send(clock):
    node = Authenticator(Methods(jwt=by_token(), api_keys=by_key()), clock)

    with pytest.raises(AuthenticationError) as raised:
        await node.authenticate(Credentials(HERE))

    answer = response(raised.value)
    assert (answer.code, answer.category) == (3000, 3)
    assert answer.message == (
        "No authentication provided: send `authorization: Bearer TOKEN` or an API key in "
        "`x-api-key`"
    )
    assert (node.counts.failed, node.counts.missing) == (0, 1)


async def test_only_callers_without_a_credential_may_be_anonymous(clock):
    node = Authenticator(Methods(jwt=by_token(), anonymous=True), clock)

    assert node.known(Credentials(HERE)) is ANONYMOUS
    assert await node.authenticate(Credentials(HERE)) is ANONYMOUS
    with pytest.raises(AuthenticationError):
        await node.authenticate(bearing("a.b.c"))


async def test_a_certificate_that_no_method_reads_is_no_credential(clock):
    with_certificate = Credentials(HERE, certificate=b"der")

    with pytest.raises(AuthenticationError, match="No authentication provided"):
        await Authenticator(Methods(jwt=by_token()), clock).authenticate(with_certificate)
    anonymous = Authenticator(Methods(jwt=by_token(), anonymous=True), clock)
    assert await anonymous.authenticate(with_certificate) is ANONYMOUS


async def test_a_wrong_token_never_falls_back_to_the_certificate(clock):
    node = Authenticator(Methods(jwt=by_token(), certificates=CertificateRules()), clock)
    both = Credentials(HERE, token="a.b.c", certificate=b"der")

    with pytest.raises(AuthenticationError, match="JWT validation failed"):
        await node.authenticate(both)


@pytest.mark.parametrize(
    ("credentials", "method"),
    [(Credentials(HERE, token=token()), "JWT"), (Credentials(HERE, api_key="k"), "API Key")],
)
async def test_a_method_that_is_off_is_named(clock, credentials, method):
    node = Authenticator(Methods(certificates=CertificateRules()), clock)

    with pytest.raises(AuthenticationError, match=f"method not enabled: {method}: send a client"):
        await node.authenticate(credentials)


async def test_failures_of_one_address_are_limited_and_others_are_served(clock):
    methods = Methods(jwt=by_token(), api_keys=by_key(), failures_per_minute=6)
    node = Authenticator(methods, clock)
    await node.authenticate(bearing(token("known")))
    for number in range(6):
        with pytest.raises(AuthenticationError):
            await node.authenticate(Credentials(HERE, api_key=f"guess {number}"))

    with pytest.raises(TooManyFailuresError) as raised:
        await node.authenticate(Credentials(HERE, api_key="hunter2"))

    answer = response(raised.value)
    assert (answer.code, answer.retry_after) == (7002, 10)
    assert node.counts.turned_away == 1
    # One who was verified before stays served, and so does another address.
    assert node.known(bearing(token("known"))) is not None
    assert (await node.authenticate(Credentials("192.0.2.2", api_key="hunter2"))).name == "k"

    node.replace(methods)
    for number in range(6):
        with pytest.raises(AuthenticationError):
            await node.authenticate(Credentials(HERE, api_key=f"guess {number}"))
    clock.seconds += 10

    assert (await node.authenticate(Credentials(HERE, api_key="hunter2"))).name == "k"


async def test_a_sound_token_is_served_whatever_others_of_its_address_fail(clock):
    """Callers behind one proxy, or on one node of Kubernetes, have one address."""
    node = Authenticator(Methods(jwt=by_token(), failures_per_minute=6), clock)
    for number in range(50):
        with pytest.raises(AuthenticationError):
            await node.authenticate(bearing(f"a.b.{number}"))

    assert (await node.authenticate(bearing(token("new")))).name == "new"


async def test_signatures_beyond_the_limit_are_checked_at_a_bounded_cost(clock, monkeypatch):
    node = Authenticator(Methods(jwt=by_token(), failures_per_minute=1), clock)
    checked: list[str] = []
    monkeypatch.setattr(
        "amaters_server.identity.jws.read", lambda one: checked.append(one) or read(one)
    )
    for number in range(1000):
        with pytest.raises((AuthenticationError, TooManyFailuresError)):
            await node.authenticate(bearing(f"a.b.{number}"))
    assert len(checked) == 101

    clock.seconds += 0.5
    for number in range(1000):
        with pytest.raises((AuthenticationError, TooManyFailuresError)):
            await node.authenticate(bearing(f"b.c.{number}"))

    assert len(checked) == 151


async def test_a_repeated_credential_is_refused_again_unread_and_uses_up_nothing(
    clock, monkeypatch
):
    node = Authenticator(Methods(api_keys=by_key(), failures_per_minute=2), clock)
    broken = Credentials(HERE, api_key="old")
    with pytest.raises(AuthenticationError) as first:
        await node.authenticate(broken)
    monkeypatch.setattr(ApiKeys, "verify", pytest.fail)
    for _ in range(100):
        with pytest.raises(AuthenticationError) as again:
            await node.authenticate(broken)
    monkeypatch.undo()

    assert (type(again.value), str(again.value)) == (type(first.value), str(first.value))
    assert again.value is not first.value
    assert node.counts.failed == 101
    assert (await node.authenticate(Credentials(HERE, api_key="hunter2"))).name == "k"


async def test_a_credential_that_becomes_valid_is_accepted(clock):
    node = Authenticator(Methods(jwt=by_token()), clock)
    early = Signer("HS256", SECRET).token({"sub": "a", "exp": NOW + 60, "nbf": NOW + 4})
    with pytest.raises(AuthenticationError, match="only in 4 s"):
        await node.authenticate(bearing(early))
    clock.seconds += 5
    assert (await node.authenticate(bearing(early))).name == "a"

    with pytest.raises(AuthenticationError):
        await node.authenticate(Credentials(HERE, api_key="hunter2"))
    node.replace(Methods(api_keys=by_key()))
    assert (await node.authenticate(Credentials(HERE, api_key="hunter2"))).name == "k"


def test_the_table_of_refused_credentials_is_bounded():
    cache = RefusedCache(most=3)
    for number in range(5):
        cache.put(bytes([number]), AuthenticationError(str(number)), 0.0)

    assert len(cache) == 3
    assert [cache.get(bytes([number]), 4.9) is None for number in range(5)] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert cache.get(b"\4", 5.0) is None


async def test_the_new_methods_decide_when_they_change_during_a_check(clock):
    node = Authenticator(Methods(jwt=by_token()), clock)

    class Replacing(KeyRing):
        after = Methods(api_keys=by_key())

        async def matching(self, token):
            node.replace(self.after)
            return await super().matching(token)

    check = by_token()
    for given in (check.ring.given, ()):
        ring = Replacing(given)
        node.replace(Methods(jwt=TokenCheck(ring, check.algorithms, check.rules, bearer)))
        with pytest.raises(AuthenticationError, match="method not enabled"):
            await node.authenticate(bearing(token()))

        Replacing.after = Methods(jwt=by_token())
        node.replace(Methods(jwt=TokenCheck(ring, check.algorithms, check.rules, bearer)))
        assert (await node.authenticate(bearing(token()))).name == "ada"
        Replacing.after = Methods(api_keys=by_key())


def test_the_table_of_principals_is_bounded_and_the_oldest_goes():
    cache = PrincipalCache(most=3)
    for number in range(5):
        cache.put(bytes([number]), Principal(str(number), PrincipalKind.JWT))
    cache.put(b"\3", Principal("again", PrincipalKind.JWT))

    assert len(cache) == 3
    assert [cache.get(bytes([number]), 0) is None for number in range(5)] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_the_table_of_failures_is_bounded():
    limit = FailureLimit(1, most=10)
    for number in range(1000):
        limit.failed(f"192.0.2.{number}", 0)

    assert len(limit) == 10


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("somewhere", "somewhere", True),
    ],
)
def test_an_ipv6_host_has_one_limit_whatever_its_addresses(one, other, same):
    limit = FailureLimit(1)
    limit.failed(one, 0)

    refused = False
    try:
        limit.require(other, 0, signed=False)
    except TooManyFailuresError:
        refused = True

    assert refused is same


@pytest.mark.parametrize(
    ("metadata", "token", "api_key"),
    [
        (None, "", ""),
        ([("user-agent", "x"), ("x-bin", b"\0")], "", ""),
        ([("authorization", "Bearer abc")], "abc", ""),
        ([("authorization", "bearer  abc ")], "abc", ""),
        ([("x-api-key", "abc")], "", "abc"),
    ],
)
def test_credentials_come_from_the_metadata(metadata, token, api_key):
    found = credentials_of(metadata, address=HERE, api_key_header="x-api-key")

    assert (found.token, found.api_key) == (token, api_key)


@pytest.mark.parametrize(
    "metadata",
    [
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
        [("authorization", "Bearer a"), ("x-api-key", "b")],
        [("x-api-key", "a"), ("x-api-key", "a")],
        [("authorization", "Basic abc")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", b"Bearer abc")],
        [("authorization", "")],
        [("x-api-key", "")],
        [("x-api-key", "a\n")],
        [("x-api-key", "ä")],
        [("authorization", "Bearer " + "a" * 8192)],
    ],
)
def test_credentials_that_are_ambiguous_or_malformed_are_refused(metadata):
    with pytest.raises(AuthenticationError, match="Invalid credentials"):
        credentials_of(metadata, address=HERE, api_key_header="x-api-key")


def test_neither_credentials_nor_keys_are_printed():
    made = Credentials(HERE, token="hunter2", api_key="hunter2", certificate=b"hunter2")

    assert "hunter2" not in repr((made, of_secret(b"hunter2" * 5), by_key()))


async def test_a_token_is_not_read_where_none_is_accepted(clock):
    node = Authenticator(Methods(certificates=CertificateRules()), clock)

    with pytest.raises(AuthenticationError, match="method not enabled: JWT: send a client"):
        await node.authenticate(Credentials(HERE, token="not a token"))
