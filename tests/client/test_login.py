"""Who the client says it is: tokens, keys and files of them, on every call and only where safe."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from amaters import ApiKey, ApiKeyFile, Token, TokenFile
from amaters.cli.flags import Flags
from amaters.cli.settings import resolve
from amaters.data.client import AmatersClient
from amaters.errors import (
    ConfigurationError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from amaters.testing.aql import FakeAql, stored
from amaters.testing.faults import Fault
from amaters.transport.login import Login, may_send
from amaters.values import ClientOptions, Consistency, Get, Set
from amaters.wire import errors_pb2
from click.testing import Result

Cli = Callable[..., Result]
EXPIRED = Fault(grpc.StatusCode.UNAUTHENTICATED, "expired", server_code="credential_expired")
SECRET = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0.c2lnbmF0dXJl"


async def test_every_kind_of_call_says_who_calls(fake: FakeAql) -> None:
    fake.logins = {f"Bearer {SECRET}"}
    async with AmatersClient(fake.address, login=Token(SECRET)) as client:
        await client.set("c", "k", b"v")
        assert await client.get("c", "k") == b"v"
        assert await client.get("c", "k", consistency=Consistency.STALE) == b"v"
        await client.batch([Set("c", "k", b"w"), Get("c", "k")])
        assert [one.value async for one in client.scan("c")] == [b"w"]
        await client.delete("c", "k")

    assert all(one["authorization"] == f"Bearer {SECRET}" for one in fake.metadata)


@pytest.mark.parametrize("login", [None, Token("another"), ApiKey("another")])
async def test_a_stranger_gets_one_answer_and_no_second_attempt(
    fake: FakeAql, login: Login | None
) -> None:
    fake.logins = {f"Bearer {SECRET}"}
    async with AmatersClient(fake.address, login=login) as client:
        with pytest.raises(UnauthenticatedError, match="No authentication provided"):
            await client.set("c", "k", b"v")
        with pytest.raises(UnauthenticatedError):
            [one async for one in client.scan("c")]

    assert len(fake.requests) == 2


async def test_an_api_key_goes_in_the_header_that_is_named(fake: FakeAql) -> None:
    async with AmatersClient(fake.address, login=ApiKey("k1", header="X-Other")) as client:
        await client.set("c", "k", b"v")

    assert fake.metadata[-1]["x-other"] == "k1"


async def test_a_denial_is_no_missing_login(fake: FakeAql) -> None:
    fake.refusals.append(
        errors_pb2.ErrorResponse(
            code=errors_pb2.ERROR_AUTH_INSUFFICIENT_PERMISSIONS,
            message="Permission denied: …",
            details="code=permission_denied",
        )
    )
    async with AmatersClient(fake.address) as client:
        with pytest.raises(PermissionDeniedError):
            await client.get("c", "k")


async def test_a_token_that_was_replaced_is_read_again_and_sent_once(
    fake: FakeAql, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("old\n")
    fake.logins = {"Bearer old"}
    async with AmatersClient(fake.address, login=TokenFile(path)) as client:
        await client.set("c", "k", b"v")
        path.write_text("new")
        fake.logins = {"Bearer new"}
        await client.set("c", "k", b"w")
        assert fake.metadata[-1]["authorization"] == "Bearer new"

        fake.logins = {"Bearer third"}
        before = len(fake.requests)
        with pytest.raises(UnauthenticatedError):
            await client.get("c", "k")

    assert len(fake.requests) == before + 1


async def test_a_scan_goes_on_with_a_newer_token_where_the_older_ended(
    fake: FakeAql, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    for number in range(250):
        fake.store.data["c", b"%03d" % number] = stored(b"v").SerializeToString()
    fake.logins = {"Bearer old"}
    fake.faults.plan("ExecuteStream.batch", EXPIRED)
    found = []
    async with AmatersClient(fake.address, login=TokenFile(path)) as client:
        async for one in client.scan("c"):
            found.append(one.key)
            if len(found) == 50:
                path.write_text("new")
                fake.logins = {"Bearer new"}

    assert found == sorted(set(found))
    assert len(found) == 250
    assert fake.metadata[-1]["authorization"] == "Bearer new"


def test_a_file_is_looked_at_once_a_second(tmp_path: Path) -> None:
    now = 0.0
    path = tmp_path / "key"
    path.write_text("one")
    login = ApiKeyFile(path, now=lambda: now)

    assert login.metadata() == (("x-api-key", "one"),)
    path.write_text("other")
    now = 0.9
    assert login.metadata() == (("x-api-key", "one"),)
    now = 1.1
    assert login.metadata() == (("x-api-key", "other"),)


def test_while_a_file_is_away_or_empty_its_last_content_counts(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    login = TokenFile(path)
    before = login.metadata()

    path.write_text("")
    login.renew()
    assert login.metadata() == before
    path.unlink()
    login.renew()
    assert login.metadata() == before


@pytest.mark.parametrize("content", ["", "two words", "ü", "x" * 20_000, "a\nb"])
def test_a_file_without_a_credential_is_refused_without_its_content(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "token"
    path.write_text(content)

    with pytest.raises(ConfigurationError) as caught:
        TokenFile(path).metadata()

    assert str(path) in str(caught.value)
    assert not content or content not in str(caught.value)


def test_a_folder_or_a_missing_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigurationError, match=str(path)):
            TokenFile(path).metadata()


@pytest.mark.parametrize("header", ["", "grpc-timeout", "key-bin", "a b", "a:b"])
def test_a_header_that_cannot_carry_a_key_is_refused(header: str) -> None:
    with pytest.raises(ConfigurationError):
        ApiKey("k", header=header)


def test_credentials_are_never_printed() -> None:
    for one in (Token(SECRET), ApiKey(SECRET), TokenFile("/missing")):
        assert SECRET not in repr(one)
    with pytest.raises(ConfigurationError) as caught:
        Token(f"{SECRET} {SECRET}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "secure", "allowed"),
    [
        ("localhost:1", False, True),
        ("127.0.0.9:1", False, True),
        ("[::1]:1", False, True),
        ("10.0.0.1:1", False, False),
        ("localhost.example.com:1", False, False),
        ("db.default.svc:1", False, False),
        ("db.default.svc:1", True, True),
    ],
)
def test_credentials_leave_this_host_encrypted(address: str, secure: bool, allowed: bool) -> None:
    assert may_send(address, secure=secure) is allowed


async def test_without_tls_nothing_is_sent_to_another_host_unless_allowed(
    fake: FakeAql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amaters.data.queries.may_send", lambda *_, **__: False)
    async with AmatersClient(fake.address, login=Token(SECRET)) as client:
        with pytest.raises(ConfigurationError, match="--plaintext-login, plaintext_login"):
            await client.get("c", "k")
        with pytest.raises(ConfigurationError, match="plaintext_login"):
            [one async for one in client.scan("c")]
    assert not fake.requests

    allowed = ClientOptions(plaintext_login=True)
    async with AmatersClient(fake.address, login=Token(SECRET), options=allowed) as client:
        await client.get("c", "k")


def resolved(home: Path, flags: Flags, file: str = "", **environment: str) -> Login | None:
    path = home / "config.toml"
    path.write_text(file)
    return resolve(flags, environment=environment, file=path).login


def test_flags_beat_the_environment_and_that_the_file(home: Path) -> None:
    file = '[login]\ntoken = "of-the-file"'

    assert resolved(home, Flags(api_key="a"), file, AMATERS_TOKEN="b") == ApiKey("a")
    assert resolved(home, Flags(), file, AMATERS_API_KEY="b") == ApiKey("b")
    assert resolved(home, Flags(), file) == Token("of-the-file")
    assert resolved(home, Flags()) is None


def test_two_ways_at_one_place_are_refused(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="the environment give more than one"):
        resolved(home, Flags(), AMATERS_TOKEN="a", AMATERS_API_KEY="b")


def test_the_program_sends_what_a_file_holds(cli: Cli, served: FakeAql, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(SECRET)
    served.logins = {f"Bearer {SECRET}"}

    assert cli("--token-file", str(path), "set", "k", "v").exit_code == 0
    refused = cli("get", "k")
    assert refused.exit_code == 1
    assert "--token-file" in refused.stderr
    assert "--token-file" not in cli("--token", "another", "get", "k").stderr


def test_the_program_shows_no_secret_of_its_file(bare: Cli, home: Path) -> None:
    path = home / ".amaters" / "config.toml"
    assert bare("config", "set", "login.token", SECRET).exit_code == 0

    assert SECRET in path.read_text()
    assert SECRET not in bare("config", "show").stdout
    assert SECRET not in bare("config", "get", "login.token").stdout
    refused = bare("config", "set", "login.token_file", f"{SECRET}\0")
    assert SECRET not in refused.stdout
