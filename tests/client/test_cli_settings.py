"""Where settings come from and which wins; the configuration file; completions; the program."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from amaters.cli.config_file import TEMPLATE, FileSettings, TlsSettings
from amaters.cli.flags import Flags, Format
from amaters.cli.settings import Settings, resolve
from amaters.errors import ConfigurationError
from amaters.testing.aql import FakeAql
from amaters.transport.tls import TlsFiles
from click.testing import Result

Cli = Callable[..., Result]
ENTRY = "from amaters.cli.entry import main; main()"


def decided(home: Path, flags: Flags | None = None, file: str = "", **environment: str) -> Settings:
    path = home / "config.toml"
    if file:
        path.write_text(file)
    return resolve(flags or Flags(), environment=environment, file=path)


def test_without_anything_the_defaults_count(home: Path) -> None:
    found = decided(home)

    assert found.servers == ("http://localhost:7878",)
    assert found.admins == ("localhost:7879",)
    assert (found.collection, found.format, found.tls) == ("default", Format.TABLE, None)
    assert found.timeout == timedelta(seconds=30)


def test_flag_beats_environment_beats_file(home: Path) -> None:
    file = 'server_url = "file:1"\ndefault_collection = "file"\noutput_format = "yaml"\n'
    flags = Flags(server="flag:1")

    found = decided(
        home, flags, file, AMATERS_SERVER_URL="environment:1", AMATERS_COLLECTION="environment"
    )

    assert found.servers == ("flag:1",)
    assert found.collection == "environment"
    assert found.format is Format.YAML


def test_internal_listeners_are_beside_the_servers_unless_named(home: Path) -> None:
    servers = Flags(server="a:7878,b:1234,a:7000")

    assert decided(home, servers).admins == ("a:7879", "b:7879")
    assert decided(home, Flags(server="a:1", admin="c:9")).admins == ("c:9",)
    assert decided(home, AMATERS_ADMIN_ADDRESS="d:9").admins == ("d:9",)


def test_the_tls_table_is_used_when_it_is_enabled(home: Path) -> None:
    table = '[tls]\nenabled = {}\nca_cert = "/ca"\nclient_cert = "/c"\nclient_key = "/k"\n'

    assert decided(home, file=table.format("false")).tls is None
    assert decided(home, file=table.format("true")).tls == TlsFiles(
        Path("/ca"), Path("/c"), Path("/k")
    )


def test_an_https_address_or_a_certificate_turns_tls_on(home: Path) -> None:
    assert decided(home, Flags(server="https://a:1")).tls == TlsFiles()
    assert decided(home, Flags(ca_cert=Path("/ca"))).tls == TlsFiles(ca=Path("/ca"))
    assert decided(home, AMATERS_CA_CERT="/env-ca").tls == TlsFiles(ca=Path("/env-ca"))


def test_a_mounted_secret_turns_tls_on_and_an_empty_folder_does_not(home: Path) -> None:
    assert decided(home, AMATERS_TLS_DIR=str(home)).tls is None

    (home / "ca.crt").touch()

    assert decided(home, AMATERS_TLS_DIR=str(home)).tls == TlsFiles(
        home / "ca.crt", home / "tls.crt", home / "tls.key"
    )


def test_colour_can_be_turned_off_in_three_places(home: Path) -> None:
    assert decided(home).color
    assert not decided(home, AMATERS_COLOR="false").color
    assert not decided(home, NO_COLOR="1").color
    assert not decided(home, file="color = false").color


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("server_url = 5", "server_url"),
        ("server_url = 'nowhere'", "HOST:PORT"),
        ("timeout_seconds = 0", "timeout_seconds"),
        ("[tls]\nenabled = 'perhaps'", "tls.enabled"),
        ("this is no toml", "not TOML"),
    ],
)
def test_a_wrong_file_is_named_with_the_wrong_key(home: Path, file: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        decided(home, file=file)


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e30"])
def test_a_timeout_that_no_clock_can_keep_is_refused(bare: Cli, home: Path, seconds: str) -> None:
    result = bare("--timeout", seconds, "get", "k")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be kept: choose one of at most 604800 s" in result.stderr
    with pytest.raises(ConfigurationError, match="cannot be kept"):
        decided(home, file=f"timeout_seconds = {'inf' if seconds == 'inf' else '1e30'}")


def test_the_file_is_shown_in_the_format_of_the_program_too(bare: Cli) -> None:
    shown = json.loads(bare("-f", "json", "config", "show").stdout)

    assert shown == json.loads(bare("config", "show", "--format", "json").stdout)
    assert tomllib.loads(bare("-f", "json", "config", "show", "-f", "toml").stdout)


def test_an_unknown_format_is_refused_with_the_known_ones(bare: Cli) -> None:
    result = bare("-f", "xml", "get", "k")

    assert result.exit_code == 2
    assert "table, json, yaml, ndjson, nul" in result.stderr


@pytest.mark.parametrize("flag", ["--server", "--admin"])
@pytest.mark.parametrize(
    ("address", "advice"),
    [("localhost", "write HOST:PORT"), ("a:1,b", "write HOST:PORT"), ("::1", "in brackets")],
)
def test_flags_that_are_no_addresses_are_a_misuse(
    bare: Cli, flag: str, address: str, advice: str
) -> None:
    result = bare(flag, address, "get", "k")

    assert result.exit_code == 2
    assert advice in result.stderr


@pytest.mark.parametrize("flag", ["--server", "--admin", "--format"])
def test_an_empty_flag_is_a_misuse(bare: Cli, flag: str) -> None:
    result = bare(flag, "", "get", "k")

    assert result.exit_code == 2
    assert "''" in result.stderr


def test_a_host_of_ipv6_is_written_in_brackets(home: Path) -> None:
    settings = decided(home, flags=Flags(server="[::1]:7878"))

    assert settings.servers == ("[::1]:7878",)
    assert settings.admins == ("[::1]:7879",)


def test_the_template_explains_every_setting_and_holds_the_defaults() -> None:
    fresh = FileSettings.model_validate(tomllib.loads(TEMPLATE))

    assert fresh == FileSettings()
    for name in (*FileSettings.model_fields, *TlsSettings.model_fields):
        assert name in TEMPLATE or name == "default_key"


def test_config_is_written_shown_changed_and_read_back(bare: Cli, home: Path) -> None:
    assert bare("config", "init").exit_code == 0
    refused = bare("config", "init")
    assert refused.exit_code == 1
    assert "--force" in refused.stderr

    assert bare("config", "set", "tls.ca_cert", "/ca.crt").exit_code == 0
    assert bare("config", "set", "timeout_seconds", "5").exit_code == 0
    assert bare("config", "get", "tls.ca_cert").stdout == "/ca.crt\n"
    assert json.loads(bare("config", "show", "-f", "json").stdout)["timeout_seconds"] == 5
    assert tomllib.loads(bare("config", "show", "-s", "tls").stdout)["tls"]["ca_cert"] == "/ca.crt"
    assert bare("config", "validate").exit_code == 0
    assert (home / ".amaters" / "config.toml").stat().st_mode & 0o777 == 0o600


def test_a_change_that_would_break_the_file_is_not_made(bare: Cli, home: Path) -> None:
    bare("config", "init")
    before = (home / ".amaters" / "config.toml").read_text()

    assert bare("config", "set", "timeout_seconds", "-1").exit_code == 1
    unknown = bare("config", "set", "server_urll", "x:1")

    assert unknown.exit_code == 1
    assert "server_url" in unknown.stderr
    assert (home / ".amaters" / "config.toml").read_text() == before


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("output_format", "banana", "choose one of table, json, yaml, ndjson, nul"),
        ("server_url", "", "write HOST:PORT"),
        ("server_url", "nowhere", "write HOST:PORT"),
        ("server_url", "http://me:hunter2@a:1", "no user and no password"),
        ("admin_address", "a:1,b", "write HOST:PORT"),
        ("default_collection", "", "at least 1 character"),
        ("color", "banana", "valid boolean"),
        ("timeout_seconds", "0", "cannot be kept"),
        ("timeout_seconds", "inf", "cannot be kept"),
        ("timeout_seconds", "nan", "cannot be kept"),
        ("timeout_seconds", "9" * 5000, "cannot be kept"),
        ("timeout_seconds", "0x" + "f" * 50_000, "valid number"),
        ("timeout_seconds", "soon", "valid number"),
        ("timeout_seconds", "[" * 5000, "valid number"),
        ("tls.enabled", "banana", "valid boolean"),
        ("tls.server_name", "[1]", None),
    ],
)
def test_a_setting_is_checked_as_it_is_when_it_is_read(
    bare: Cli, home: Path, key: str, value: str, said: str | None
) -> None:
    bare("config", "init")
    file = home / ".amaters" / "config.toml"
    before = file.read_text()

    result = bare("config", "set", key, value)

    if said is None:
        assert result.exit_code == 0
        assert bare("config", "validate").exit_code == 0
        return
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{key} cannot be " in result.stderr
    assert said in result.stderr
    assert "Nothing was changed" in result.stderr
    assert len(result.stderr) < 500
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("key", "value", "stored"),
    [
        ("default_collection", "5", "5"),
        ("default_collection", "a\nb = 1", "a\nb = 1"),
        ("server_url", '"http://a:1"', "http://a:1"),
        ("color", "no", "no"),
        ("timeout_seconds", "2.5", 2.5),
        ("tls.ca_cert", "", ""),
    ],
)
def test_what_is_set_is_taken_by_every_command(
    bare: Cli, home: Path, key: str, value: str, stored: object
) -> None:
    assert bare("config", "set", key, value).exit_code == 0

    tables = tomllib.loads((home / ".amaters" / "config.toml").read_text())
    assert (tables["tls"]["ca_cert"] if key.startswith("tls.") else tables[key]) == stored
    assert bare("config", "validate").exit_code == 0
    assert "wrong" not in bare("-s", "127.0.0.1:1", "get", "k").stderr


def test_a_file_with_two_faults_can_be_mended_one_by_one(bare: Cli, home: Path) -> None:
    path = home / ".amaters" / "config.toml"
    path.parent.mkdir()
    path.write_text('output_format = "banana"\ncolor = "perhaps"\n')

    first = bare("config", "set", "color", "true")
    second = bare("config", "set", "output_format", "json")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "note: output_format is still wrong: 'banana' is no output format" in first.stderr
    assert second.stderr == ""
    assert bare("config", "validate").exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[tls]\nx = " + b"[" * 5000 + b"]" * 5000, "line 2: 'tls.x' is nested more than 16 deep"),
        (b"tls" + b".a" * 5000 + b" = 1", "'tls' is nested more than 16 deep"),
        (b"timeout_seconds = " + b"9" * 5000, "line 1: 'timeout_seconds' holds a number"),
        (b"timeout_seconds = 0x" + b"f" * 50_000, "'timeout_seconds' holds a number"),
        (b"color = true\nserver_url = '\xff'", "line 2 is not UTF-8"),
        (b"#" * (1 << 20) + b"#", "more than 1048576 bytes"),
    ],
)
@pytest.mark.parametrize(
    "command", [("get", "k"), ("config", "show"), ("config", "set", "color", "no")]
)
def test_a_hostile_file_is_one_line_and_no_traceback(
    bare: Cli, home: Path, content: bytes, said: str, command: tuple[str, ...]
) -> None:
    path = home / ".amaters" / "config.toml"
    path.parent.mkdir()
    path.write_bytes(content)

    result = bare(*command)

    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert path.read_bytes() == content


@pytest.mark.parametrize("flag", ["--server", "--admin"])
def test_a_password_in_an_address_is_refused_and_not_echoed(bare: Cli, flag: str) -> None:
    result = bare(flag, "https://me:hunter2@a:1", "get", "k")

    assert result.exit_code == 2
    assert "no user and no password" in result.stderr
    assert "hunter2" not in result.stderr


def test_validate_warns_of_keys_without_a_meaning(bare: Cli, tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text('[server]\nhost = "0.0.0.0"\n')

    result = bare("config", "validate", "-p", str(path))

    assert result.exit_code == 0
    assert "'server' is unknown" in result.stderr


def test_config_works_while_the_file_is_broken(bare: Cli, home: Path) -> None:
    path = home / ".amaters" / "config.toml"
    path.parent.mkdir()
    path.write_text("broken")

    assert bare("get", "k").exit_code == 1
    assert bare("config", "validate").exit_code == 1
    assert bare("config", "init", "--force").exit_code == 0
    assert bare("config", "validate").exit_code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completions_name_the_program(bare: Cli, shell: str, tmp_path: Path) -> None:
    target = tmp_path / "script"

    assert "amaters-cli" in bare("completions", shell).stdout
    assert bare("completions", shell, "-o", str(target)).exit_code == 0
    assert "amaters-cli" in target.read_text()


def test_every_command_has_help(bare: Cli) -> None:
    for group in ((), ("server",), ("cluster",), ("admin",), ("config",)):
        assert bare(*group, "--help").exit_code == 0


INTERRUPTED_WHILE = """
import importlib.abc, os, signal, sys

class Interrupting(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from amaters.cli.entry import main
main()
"""


def test_an_interrupt_during_the_imports_is_quiet() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.slow
def test_the_program_itself_keeps_stdout_clean(served: FakeAql, home: Path) -> None:
    run = [sys.executable, "-c", ENTRY, "-s", served.address, "-f", "json"]

    done = subprocess.run([*run, "get", "k"], capture_output=True, text=True, check=False)
    failed = subprocess.run(
        [*run[:4], "127.0.0.1:1", "get", "k"], capture_output=True, text=True, check=False
    )

    assert json.loads(done.stdout)["status"] == "not_found"
    assert (done.returncode, done.stderr) == (0, "")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert len(failed.stderr.splitlines()) == 1
