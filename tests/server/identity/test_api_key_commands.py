"""`amaters-server api-key`: keys come and go, the file is whole at any moment."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from amaters_server.app.cli import main
from amaters_server.identity.api_key_file import ApiKeyFile
from amaters_server.identity.api_keys import ApiKeys
from amaters_server.model.errors import ConfigurationError
from click.testing import CliRunner


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["api-key", *words])
    return done.exit_code, done.stdout, done.stderr


def test_a_key_is_created_printed_once_listed_and_revoked(tmp_path):
    file = tmp_path / "keys.json"
    made = ("--name", "Ada", "--role", "reader", "--role", "user")

    code, key, errors = run(
        "create", *made, "--expires", "2027-01-31T00:00:00Z", "--file", str(file)
    )  # fmt: skip

    key = key.strip()
    assert (code, key[:4]) == (0, "amk_")
    [stored] = ApiKeyFile(file).stored()
    assert stored.id in errors
    assert key not in file.read_text()
    assert ApiKeys([stored]).verify(key, 0.0).roles == ("reader", "user")
    assert run("list", "--file", str(file))[:2] == (
        0,
        f"{stored.id}  Ada  roles=reader,user  ends=2027-01-31T00:00:00+00:00\n",
    )

    assert run("revoke", stored.id, "--file", str(file))[0] == 0

    assert run("list", "--file", str(file))[:2] == (0, "")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("revoke", "missing"), "has no key missing"),
        (("create", "--name", "a", "--expires", "soon"), "no key was created: `expires_at`"),
        (("create", "--name", "a\nb"), "`name` is missing, or no printable text"),
    ],
)
def test_what_cannot_be_done_changes_nothing(tmp_path, words, reason):
    file = tmp_path / "keys.json"
    ApiKeyFile(file).create("Ada")
    before = file.read_bytes()

    code, out, errors = run(*words, "--file", str(file))

    assert (code, out) == (1, "")
    assert reason in errors
    assert file.read_bytes() == before
    assert os.listdir(tmp_path) == ["keys.json"]


def test_without_a_file_the_command_says_which_key_to_set(tmp_path):
    config = tmp_path / "c.toml"
    config.touch()

    code, _, errors = run("list", "--config", str(config))

    assert code == 1
    assert "set auth.api_key.keys_file, or use --file" in errors


def test_the_file_is_for_its_owner_alone_whatever_the_umask(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text("[]")
    file.chmod(0o644)
    before = os.umask(0)
    try:
        ApiKeyFile(file).create("Ada")
    finally:
        os.umask(before)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_others_wrote_into_an_entry_stays(tmp_path):
    file = tmp_path / "keys.json"
    ApiKeyFile(file).create("Ada")
    [entry] = json.loads(file.read_text())
    file.write_text(json.dumps([{**entry, "note": "hers", "attributes": {"a": "b"}}]))

    ApiKeyFile(file).create("Grace")

    assert json.loads(file.read_text())[0]["note"] == "hers"


def test_changes_at_the_same_time_are_all_kept(tmp_path):
    file = tmp_path / "keys.json"

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda n: ApiKeyFile(file).create(f"caller {n}")[0], range(24)))

    assert {key.id for key in ApiKeyFile(file).stored()} == set(made)
    assert os.listdir(tmp_path) == ["keys.json"]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "keys.json"
    link.symlink_to(tmp_path / "real" / "keys.json")

    ApiKeyFile(link).create("Ada")

    assert link.is_symlink()
    assert len(ApiKeyFile(tmp_path / "real" / "keys.json").stored()) == 1


@pytest.mark.parametrize("content", ["{", "[7]", '[{"id": "a"}]'])
def test_a_file_that_is_wrong_is_named_and_left_alone(tmp_path, content):
    file = tmp_path / "keys.json"
    file.write_text(content)

    with pytest.raises(ConfigurationError, match="correct the file"):
        ApiKeyFile(file).create("Ada")

    assert file.read_text() == content


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"set auth\.api_key\.keys_file"):
        ApiKeyFile(tmp_path / "missing" / "keys.json").create("Ada")


def test_a_server_that_reads_the_file_by_its_group_still_can(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text("[]")
    file.chmod(0o640)

    ApiKeyFile(file).create("Ada")

    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_link_to_itself_is_named(tmp_path):
    link = tmp_path / "keys.json"
    link.symlink_to(link)

    with pytest.raises(ConfigurationError, match=r"keys.json"):
        ApiKeyFile(link).create("Ada")


def test_any_text_of_json_is_written_again(tmp_path):
    file = tmp_path / "keys.json"
    ApiKeyFile(file).create("Ada")
    [entry] = json.loads(file.read_text())
    file.write_text(json.dumps([{**entry, "attributes": {"a": "\ud800", "b": "ä"}}]))

    ApiKeyFile(file).create("Grace")

    assert json.loads(file.read_text())[0]["attributes"] == {"a": "\ud800", "b": "ä"}


def test_a_key_that_is_printed_is_on_the_disk(tmp_path, monkeypatch):
    synced: list[bool] = []
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda file: (synced.append(stat.S_ISDIR(os.fstat(file).st_mode)), sync(file))
    )

    ApiKeyFile(tmp_path / "keys.json").create("Ada")

    assert synced == [False, True]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_what_root_writes_belongs_to_the_user_of_the_server(tmp_path, mode):
    file = tmp_path / "keys.json"
    file.write_text("[]")
    file.chmod(mode)
    os.chown(file, 1234, 4321)

    ApiKeyFile(file).create("Ada")

    after = file.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (1234, 4321, mode)


def test_what_is_no_file_is_neither_waited_for_nor_replaced(tmp_path):
    pipe = tmp_path / "keys.json"
    os.mkfifo(pipe)

    for words in (("list",), ("create", "--name", "Ada"), ("revoke", "x")):
        code, _, errors = run(*words, "--file", str(pipe))
        assert code == 1
        assert "is no file: correct the path" in errors
    assert stat.S_ISFIFO(pipe.stat().st_mode)
