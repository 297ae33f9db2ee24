"""Files that no person writes on purpose: each ends in one line, and never in a traceback."""

import os
import time
from pathlib import Path

import pytest
from amaters_server.access import roles
from amaters_server.config.load import Sources, load
from amaters_server.model.errors import ConfigurationError


def refusal(tmp_path: Path, content: str | bytes) -> str:
    path = tmp_path / "config.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigurationError) as raised:
        load(Sources(path=path))
    return str(raised.value)


LISTS = "[" * 5000 + "]" * 5000
TABLES = "{a = " * 5000 + "1" + "}" * 5000
DIGITS = "9" * 5000


@pytest.mark.parametrize("value", [LISTS, TABLES, "[" * 30 + "]" * 30])
@pytest.mark.parametrize(
    ("before", "key"),
    [
        ("[server]\ndata_dir = '''[\n[[['''  # [[\nx = ", "server.x"),
        ('[storage.wal]\nsync_mode = "[\\"["\n\'x y\' = ', "storage.wal.'x y'"),
        ("[[odd]]\na = [\n 1,\n]\ny = ", "odd.y"),
        ("x = ", "x"),
    ],
)
def test_a_value_nested_too_deeply_is_named(tmp_path, value, before, key):
    said = refusal(tmp_path, before + value)

    assert "nested more than 16 deep" in said
    assert said.count("\n") == 0
    shown = said.partition(": ")[0]
    assert shown == key or shown.replace("odd.0", "odd").startswith(key.replace("'", '"'))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"[server]\nmax_connections = {DIGITS}", "server.max_connections"),
        (f"[server]\nmax_connections = -{DIGITS}", "server.max_connections"),
        (f"[server]\nmax_connections = 0x{'f' * 50_000}", "server.max_connections"),
        (f"[health]\nhttp_port = 0x{'f' * 50_000}", "health.http_port"),
        (f"[cluster]\npeers = [1, {DIGITS}]", "cluster.peers"),
        ("[server]\nmax_connections = 9223372036854775808", "server.max_connections"),
        (f"unknown = {2**63}", "unknown"),
    ],
)
def test_a_number_that_fits_nothing_is_named(tmp_path, text, key):
    said = refusal(tmp_path, text)

    assert "does not fit 64 bits" in said
    assert said.startswith(f"{key}: ")
    assert len(said) < 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["[server]\nbind_address" + ".a" * 5000 + " = 1", f"[{'a.' * 5000}a]"]
)
def test_a_key_nested_too_deeply_is_named(tmp_path, text):
    said = refusal(tmp_path, text)

    assert "nested more than 16 deep" in said
    assert said.count("\n") == 0


def test_bytes_that_are_no_text_are_named_by_their_line(tmp_path):
    said = refusal(tmp_path, b'[server]\n# fine\ndata_dir = "\xff"\n')

    assert "line 3 is not UTF-8 (byte 0xff): save the file as UTF-8" in said


def test_a_file_too_large_for_a_configuration_is_not_read_to_its_end(tmp_path):
    assert "more than 1048576 bytes" in refusal(tmp_path, b"#" * (1 << 20) + b"#")
    with pytest.raises(ConfigurationError, match="more than 1048576 bytes"):
        load(Sources(path=Path("/dev/zero")))


@pytest.mark.slow
def test_many_unknown_keys_are_counted_and_cost_no_time(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(
        "\n".join(f"k{number} = 1" for number in range(50_000)) + f"\n{'k' * 200_000} = 1"
    )
    begun = time.monotonic()

    notices = load(Sources(path=path)).notices

    assert len(notices) == 21
    assert notices[-1] == "49981 more keys are unknown and ignored"
    assert time.monotonic() - begun < 20


def test_many_faults_are_counted(tmp_path):
    lines = refusal(tmp_path, f"[cluster]\npeers = {['x'] * 1000}").splitlines()

    assert len(lines) == 21
    assert lines[-1] == "980 more faults: correct these first"


@pytest.mark.parametrize(
    "text",
    [
        '[storage]\nengine = "a\\u001b[31m\\nb"',
        '[cluster]\npeers = ["\\u001b[31m\\nb"]',
        '[logging]\nlevel = ["' + "x" * 100_000 + '"]',
        f'[server]\nbind_address = "{"x" * 100_000}"',
    ],
)
def test_a_fault_is_one_short_line_that_no_terminal_acts_on(tmp_path, text):
    said = refusal(tmp_path, text)

    assert said.isprintable()
    assert len(said) < 1000


def test_an_unknown_key_is_told_without_what_a_terminal_acts_on(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('"a\\u001b[31m\\nb" = 1')

    [notice] = load(Sources(path=path)).notices

    assert notice.isprintable()


def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "config.toml"
    os.mkfifo(path)

    with pytest.raises(ConfigurationError, match="is a pipe, which a reload cannot read again"):
        load(Sources(path=path))
    with pytest.raises(ConfigurationError, match=r"Roles file .* with authz\.roles_file"):
        roles.load(path)


def test_a_roles_file_nested_too_deeply_is_named(tmp_path):
    path = tmp_path / "roles.toml"
    path.write_text("x = " + LISTS)

    with pytest.raises(ConfigurationError, match=r"roles\.toml: x: line 1: .* 16 deep") as raised:
        roles.load(path)

    assert "\n" not in str(raised.value)
