"""API keys: the published file, and what makes it safe."""

import base64
import hashlib
import json
import os
import subprocess
import time

import pytest
from amaters_server.config.security.authentication import AuthSection
from amaters_server.identity import api_keys
from amaters_server.identity.api_keys import ApiKeys, hash_text, parsed
from amaters_server.identity.authenticator import Authenticator
from amaters_server.identity.credentials import Credentials
from amaters_server.identity.methods import read_methods
from amaters_server.model.errors import (
    AuthenticationError,
    ConfigurationError,
    CredentialExpiredError,
)
from amaters_server.model.principal import Principal, PrincipalKind
from amaters_server.testing.clock import ManualClock

NOW = 1_800_000_000.0
SECRET = b"s" * 32


def entry(**given: object) -> dict[str, object]:
    return {
        "id": "key-1",
        "name": "Backup job",
        "key_hash": hash_text("hunter2"),
        "user_id": "svc-backup",
        "roles": ["reader"],
        "attributes": {"team": "storage"},
        **given,
    }


def keys(*entries: dict[str, object], secret: bytes | None = None, hashed: bool = True) -> ApiKeys:
    return ApiKeys(parsed(json.dumps(entries), hashed=hashed), secret)


def test_the_published_digest_is_that_of_openssl():
    made = subprocess.run(
        "printf %s hunter2 | openssl dgst -sha256 -binary | base64",
        shell=True, check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip

    assert hash_text("hunter2") == made
    assert base64.b64decode(made) == hashlib.sha256(b"hunter2").digest()


def test_a_key_of_the_published_file_names_its_user():
    found = keys(entry()).verify("hunter2", NOW)

    assert found == Principal("Backup job", PrincipalKind.API_KEY, ("reader",), id="svc-backup")


@pytest.mark.parametrize("key", ["hunter3", "hunter", "hunter22", " ", hash_text("hunter2")])
def test_another_key_is_refused_and_so_is_the_digest_itself(key):
    with pytest.raises(AuthenticationError, match="the key is unknown here") as raised:
        keys(entry()).verify(key, NOW)

    assert key.strip() == "" or key not in str(raised.value)


def test_a_digest_by_hmac_needs_the_secret():
    file = entry(key_hash=hash_text("hunter2", SECRET))
    assert str(file["key_hash"]).startswith("hmac-sha256:")

    assert keys(file, secret=SECRET).verify("hunter2", NOW).name == "Backup job"
    with pytest.raises(AuthenticationError):
        keys(file, secret=b"t" * 32).verify("hunter2", NOW)
    with pytest.raises(ValueError, match=r"set auth\.api_key\.hmac_secret_file"):
        keys(file)


def test_both_kinds_of_digest_may_stand_in_one_file():
    both = keys(
        entry(), entry(id="key-2", key_hash=hash_text("other", SECRET)), secret=SECRET
    )  # fmt: skip

    assert both.verify("hunter2", NOW).kind is PrincipalKind.API_KEY
    assert both.verify("other", NOW).kind is PrincipalKind.API_KEY


def test_a_plain_digest_is_not_taken_for_one_by_hmac():
    plain = keys(entry(key_hash="hmac-sha256:" + hash_text("hunter2")), secret=SECRET)

    with pytest.raises(AuthenticationError):
        plain.verify("hunter2", NOW)


def test_digests_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(
        api_keys.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or a == b
    )

    keys(entry()).verify("hunter2", NOW)

    assert compared == [(api_keys.digest_of("hunter2"),) * 2]


@pytest.mark.parametrize(
    "given",
    [
        {"expires_at": NOW},
        {"expires_at": "2027-01-15T08:00:00Z"},
        {"expires_at": "2027-01-15T09:00:00+01:00"},
        {"expires_at": "2027-01-15T08:00:00"},
        {"attributes": {"expires_at": "2027-01-15T08:00:00Z"}},
    ],
)
def test_the_end_of_a_key_is_enforced_and_is_the_principals(given):
    file = keys(entry(**given))

    assert file.verify("hunter2", NOW - 1).expires_at == NOW
    with pytest.raises(CredentialExpiredError, match="key-1 has expired"):
        file.verify("hunter2", NOW)


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        ("", "no JSON array"),
        ("{}", "no JSON array"),
        ("[7]", "no JSON array"),
        ("[" * 100_000, "no JSON array"),
        (json.dumps([entry(), entry()]), "'key-1' appears twice"),
        (json.dumps([entry(id=None)]), "entry 1: `id` is missing"),
        (json.dumps([entry(), entry(id="b", name="a\n")]), "entry 2: `name` is missing, or no"),
        (json.dumps([entry(roles="admin")]), "`roles` is no list"),
        (json.dumps([entry(key_hash="abc")]), "no SHA-256 digest"),
        (json.dumps([entry(key_hash="*" * 44)]), "no SHA-256 digest"),
        (json.dumps([entry(key_hash=None)]), "`key_hash` is missing"),
        (json.dumps([entry(key="hunter2")]), "a key in the clear"),
        (json.dumps([entry(expires_at="soon")]), "`expires_at` is neither"),
        (json.dumps([entry(expires_at=True)]), "`expires_at` is neither"),
        (json.dumps([entry(expires_at=10**400)]), "`expires_at` is neither"),
    ],
)
def test_a_file_that_is_wrong_is_refused_as_a_whole(document, wrong):
    with pytest.raises(ValueError, match=wrong) as raised:
        parsed(document, hashed=True)

    assert "hunter2" not in str(raised.value)


def test_keys_in_the_clear_are_read_where_the_configuration_says_so():
    file = {name: value for name, value in entry(key="hunter2").items() if name != "key_hash"}

    assert keys(file, hashed=False).verify("hunter2", NOW).id == "svc-backup"


async def test_a_reload_revokes_what_was_looked_up_before(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([entry()]))
    section = {"enabled": True, "keys_file": path}
    auth = AuthSection.model_validate({"enabled": True, "methods": ["api_key"], "api_key": section})
    clock = ManualClock(NOW)
    node = Authenticator(read_methods(auth, clock), clock)
    credentials = Credentials("192.0.2.1", api_key="hunter2")
    await node.authenticate(credentials)
    assert node.known(credentials) is not None

    path.write_text("{")
    with pytest.raises(ConfigurationError, match=r"auth.api_key.keys_file: it is no JSON array"):
        node.replace(read_methods(auth, clock))
    assert node.known(credentials) is not None

    path.write_text("[]")
    node.replace(read_methods(auth, clock))

    assert node.known(credentials) is None
    with pytest.raises(AuthenticationError):
        await node.authenticate(credentials)


def test_published_files_write_what_is_absent_as_null():
    """A serializer that knows all fields writes `"key": null` beside a digest."""
    assert keys(entry(key=None)).verify("hunter2", NOW)
    clear = keys(entry(key="hunter3", key_hash=None), hashed=False)
    assert clear.verify("hunter3", NOW)
    assert keys(entry(attributes=None, roles=None, name=None, user_id=None)).verify("hunter2", NOW)


def test_one_key_has_one_entry():
    """Else which roles it has would depend on the order."""
    with pytest.raises(ValueError, match="entry 2: it is the same key as 'key-1'"):
        keys(entry(), entry(id="b", roles=["admin"]))


def test_attributes_hold_texts_so_unix_seconds_may_be_one():
    file = keys(entry(attributes={"expires_at": "1800000000"}))

    assert file.verify("hunter2", NOW - 1).expires_at == NOW


def test_an_ambiguous_file_is_refused():
    with pytest.raises(ValueError, match="no JSON array"):
        parsed('[{"id": "a", "roles": [], "roles": ["admin"]}]', hashed=True)


def test_ten_thousand_keys_are_read_in_a_moment():
    document = json.dumps([entry(id=str(n), key_hash=hash_text(str(n))) for n in range(10_000)])

    began = time.process_time()
    assert len(parsed(document, hashed=True)) == 10_000

    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("mode", "logged"), [(0o600, []), (0o640, []), (0o644, ["r"]), (0o602, ["w"])]
)
def test_a_file_that_every_user_can_read_or_change_is_logged(tmp_path, caplog, mode, logged):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([entry()]))
    path.chmod(mode)
    section = {"enabled": True, "keys_file": path}
    auth = AuthSection.model_validate({"enabled": True, "methods": ["api_key"], "api_key": section})

    assert read_methods(auth, ManualClock(NOW)).api_keys
    assert [record.message for record in caplog.records] == ["auth.file_open_to_all"] * len(logged)


@pytest.mark.parametrize("kind", ["fifo", "folder", "large"])
def test_a_file_that_never_ends_is_refused(tmp_path, kind):
    path = tmp_path / "keys.json"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(64 * 1024 * 1024)
    section = {"enabled": True, "keys_file": path}
    auth = AuthSection.model_validate({"enabled": True, "methods": ["api_key"], "api_key": section})

    with pytest.raises(ConfigurationError, match=r"auth.api_key.keys_file: "):
        read_methods(auth, ManualClock(NOW))


def files(tmp_path, *documents: object) -> AuthSection:
    paths = [tmp_path / f"keys-{number}.json" for number, _ in enumerate(documents)]
    for path, document in zip(paths, documents, strict=True):
        path.write_text(json.dumps(document))
    section = {"enabled": True, "keys_file": paths[0], "further_keys_files": paths[1:]}
    return AuthSection.model_validate({"enabled": True, "methods": ["api_key"], "api_key": section})


def test_keys_of_further_files_count_too(tmp_path):
    others = [entry(id="b", key_hash=hash_text("other"), roles=["reader"])]
    found = read_methods(files(tmp_path, [entry()], [], others), ManualClock(NOW)).api_keys

    assert found.verify("hunter2", NOW)
    assert found.verify("other", NOW).roles == ("reader",)


@pytest.mark.parametrize(
    ("other", "wrong"),
    [
        (entry(key_hash=hash_text("other")), "the id 'key-1' appears twice"),
        (entry(id="b", roles=["admin"]), "entry 1: it is the same key as 'key-1'"),
    ],
)
def test_no_key_is_in_two_files(tmp_path, other, wrong):
    section = files(tmp_path, [entry()], [other])

    with pytest.raises(ConfigurationError, match=f"^auth.api_key.further_keys_files: {wrong}"):
        read_methods(section, ManualClock(NOW))


def test_the_end_of_a_key_is_written_for_people():
    assert parsed(json.dumps([entry()]), hashed=True)[0].ends == "never"
    ending = parsed(json.dumps([entry(expires_at=NOW)]), hashed=True)
    assert ending[0].ends == "2027-01-15T08:00:00+00:00"
