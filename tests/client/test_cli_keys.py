"""`key`: files are kept as published, and nothing is pretended."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Cli = Callable[..., Result]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.key"
    path.write_bytes(b"\x00secret\xff")
    return path


def test_a_key_goes_in_is_listed_and_comes_out(bare: Cli, home: Path, file: Path) -> None:
    made = bare("key", "import", "my.key-1", "-f", str(file), "-d", "for tests")
    kept = home / ".amaters" / "keys"

    assert made.stdout == "✓ Imported key my.key-1, 8 B\n"
    assert (kept / "my.key-1.key").read_bytes() == b"\x00secret\xff"
    assert (kept / "my.key-1.key").stat().st_mode & 0o077 == 0
    assert kept.stat().st_mode & 0o077 == 0
    described = json.loads((kept / "my.key-1.json").read_text())
    assert (described["key_type"], described["size_bytes"]) == ("client", 8)
    (one,) = json.loads(bare("-f", "json", "key", "list").stdout)["keys"]
    assert one == {**described, "default": False}
    assert "for tests" in bare("key", "list").stdout
    assert bare("key", "export", "my.key-1", "-f", str(home / "out")).exit_code == 0
    assert (home / "out").read_bytes() == b"\x00secret\xff"
    assert (home / "out").stat().st_mode & 0o077 == 0


def test_nothing_is_overwritten(bare: Cli, home: Path, file: Path) -> None:
    bare("key", "import", "k", "-f", str(file))

    again = bare("key", "import", "k", "-f", str(file))
    out = bare("key", "export", "k", "-f", str(file))

    assert (again.exit_code, out.exit_code) == (1, 1)
    assert "there is a key 'k' already" in again.stderr
    assert "exists already" in out.stderr


def test_generating_says_what_is_missing(bare: Cli, home: Path) -> None:
    result = bare("key", "generate", "k")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "it has no FHE library" in result.stderr
    assert not (home / ".amaters").exists()


@pytest.mark.parametrize("name", ["../k", "a/b", "", ".k", "k" * 65, "ü"])
def test_a_name_is_never_a_path(bare: Cli, file: Path, name: str) -> None:
    for command in (
        ("import", name, "-f", str(file)),
        ("export", name, "-f", "x"),
        ("delete", name, "--yes"),
    ):
        result = bare("key", *command)
        assert result.exit_code == 1, command
        assert "is no name of a key" in result.stderr


def test_a_key_is_deleted_once_that_is_confirmed(bare: Cli, home: Path, file: Path) -> None:
    bare("key", "import", "k", "-f", str(file))

    assert bare("key", "delete", "k", stdin="n\n").exit_code == 1
    assert (home / ".amaters" / "keys" / "k.key").exists()
    assert bare("key", "delete", "k", stdin="y\n").exit_code == 0
    assert list((home / ".amaters" / "keys").iterdir()) == []
    missing = bare("key", "delete", "k", "--yes")
    assert (missing.exit_code, "known: none" in missing.stderr) == (1, True)


def test_the_default_key_is_a_setting(bare: Cli, home: Path, file: Path) -> None:
    bare("key", "import", "k", "-f", str(file))

    assert bare("key", "default").stdout == "no default key\n"
    assert bare("key", "default", "other").exit_code == 1
    assert bare("key", "default", "k").stdout == "✓ The default key is k\n"
    assert bare("key", "default", "--show").stdout == "k\n"
    assert bare("config", "get", "default_key").stdout.strip() == "k"
    assert "yes" in bare("key", "list").stdout
    assert bare("key", "default", "--clear").stdout == "✓ There is no default key\n"
    assert bare("key", "default", "k", "--clear").exit_code == 2


def test_a_key_without_a_description_is_one_too(bare: Cli, home: Path, file: Path) -> None:
    bare("key", "import", "k", "-f", str(file))
    (home / ".amaters" / "keys" / "k.json").write_text("[" * 100_000)

    (one,) = json.loads(bare("-f", "json", "key", "list").stdout)["keys"]

    assert (one["name"], one["description"], one["size_bytes"]) == ("k", "", 8)
