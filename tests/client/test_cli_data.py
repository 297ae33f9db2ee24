"""`amaters-cli` on the data: what it prints in every format, and how it ends."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from amaters.testing.aql import FakeAql, stored
from amaters.wire import errors_pb2, types_pb2
from click.testing import Result

Cli = Callable[..., Result]
ENTRY = "from amaters.cli.entry import main; main()"


def put(fake: FakeAql, key: bytes, value: bytes, collection: str = "default") -> None:
    blob = stored(value)
    blob.metadata.created_at = 1_750_000_000
    fake.store.data[collection, key] = blob.SerializeToString()


def test_set_then_get_shows_the_value(cli: Cli) -> None:
    written = cli("set", "greeting", "hello world")
    read = cli("get", "greeting")

    assert written.stdout == "✓ Successfully set key: greeting\n"
    assert read.exit_code == 0
    assert "hello world" in read.stdout


def test_get_as_a_table(cli: Cli, served: FakeAql) -> None:
    put(served, b"k", b"hello")

    lines = [line.rstrip() for line in cli("get", "k").stdout.splitlines()]

    assert lines == [
        "Key         k",
        "Value       hello",
        "Size        5 bytes",
        "Checksum    0x3610a686",
        "Created At  2025-06-15T15:06:40Z",
    ]


@pytest.mark.parametrize(("name", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_get_for_programs(
    cli: Cli, served: FakeAql, name: str, load: Callable[[str], object]
) -> None:
    put(served, b"k", b"hello")

    result = cli("-f", name, "get", "k")

    assert load(result.stdout) == {
        "status": "success",
        "operation": "get",
        "key": "k",
        "value": {
            "checksum": 0x3610A686,
            "created_at": "2025-06-15T15:06:40Z",
            "data": "hello",
            "size": 5,
        },
    }
    assert result.stderr == ""


def test_record_formats_hold_the_record_and_nothing_else(cli: Cli, served: FakeAql) -> None:
    put(served, b"k", b"\x00\xff")

    assert cli("-f", "nul", "get", "k").stdout_bytes == b"k\x00\x00\xff\x00"
    assert cli("-f", "ndjson", "get", "k").stdout == '{"key":"k","value":"BASE64:AP8="}\n'
    assert cli("get", "k", "--raw").stdout_bytes == b"\x00\xff"


@pytest.mark.parametrize(
    ("name", "stdout", "stderr"),
    [
        ("table", "✗ Key not found: k\n", ""),
        ("nul", "", "not_found: k\n"),
        ("ndjson", "", "not_found: k\n"),
    ],
)
def test_a_missing_key_is_said_and_is_no_failure(
    cli: Cli, name: str, stdout: str, stderr: str
) -> None:
    result = cli("-f", name, "get", "k")

    assert (result.stdout, result.stderr, result.exit_code) == (stdout, stderr, 0)


def test_text_that_looks_like_base64_is_marked_so_that_it_can_be_told_apart(
    cli: Cli, served: FakeAql
) -> None:
    put(served, b"k", b"BASE64:x")

    written = json.loads(cli("-f", "ndjson", "get", "k").stdout)["value"]

    assert base64.b64decode(written.removeprefix("BASE64:")) == b"BASE64:x"


def test_a_value_may_begin_with_a_dash(cli: Cli) -> None:
    assert cli("set", "k", "-5").exit_code == 0
    assert cli("get", "k", "--raw").stdout == "-5"


def test_keys_with_markup_are_shown_as_they_are(cli: Cli) -> None:
    assert cli("set", "[red]x[/]", "v").stdout == "✓ Successfully set key: [red]x[/]\n"
    assert "[red]x[/]" in cli("get", "[red]x[/]").stdout


def test_any_bytes_can_be_stored(cli: Cli, served: FakeAql, tmp_path: Path) -> None:
    source = tmp_path / "value"
    source.write_bytes(b"\x00\x01")

    assert cli("set", "from-file", "--file", str(source)).exit_code == 0
    assert cli("set", "from-stdin", "--file", "-", stdin=b"\xfe").exit_code == 0
    assert cli("set", "--base64", "/w==", "AQI=").exit_code == 0

    assert cli("get", "from-file", "--raw").stdout_bytes == b"\x00\x01"
    assert cli("get", "from-stdin", "--raw").stdout_bytes == b"\xfe"
    assert cli("get", "--base64", "/w==", "--raw").stdout_bytes == b"\x01\x02"
    assert ("default", b"\xff") in served.store.data


@pytest.mark.parametrize("arguments", [("set", "k"), ("set", "k", "v", "--file", "-"), ("get",)])
def test_misuse_exits_with_two(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli(*arguments).exit_code == 2


def test_delete_confirms_in_the_short_form_too(cli: Cli, served: FakeAql) -> None:
    put(served, b"k", b"v")

    assert cli("-f", "nul", "delete", "k").stdout == "deleted: k\n"
    assert cli("-f", "nul", "set", "k", "v").stdout == "ok: k\n"
    assert cli("delete", "k").stdout == "✓ Successfully deleted key: k\n"
    assert served.store.data == {}


def test_the_collection_is_where_things_go(cli: Cli, served: FakeAql) -> None:
    cli("-c", "users", "set", "k", "v")

    assert list(served.store.data) == [("users", b"k")]


def test_range_is_half_open_and_counted(cli: Cli, served: FakeAql) -> None:
    for key in (b"a", b"b", b"c"):
        put(served, key, b"v" + key)

    table = cli("range", "a", "c").stdout
    found = json.loads(cli("-f", "json", "range", "a", "c").stdout)

    assert "va" in table
    assert "vc" not in table
    assert table.splitlines()[-1].rstrip() == "Total: 2 results"
    assert found["count"] == 2
    assert [one["key"] for one in found["results"]] == ["a", "b"]
    assert "has_more" not in found


def test_nothing_found_is_said(cli: Cli) -> None:
    assert cli("scan", "x").stdout == "No results found\n"
    assert json.loads(cli("-f", "json", "scan", "x").stdout)["results"] == []
    assert cli("-f", "ndjson", "scan", "x").stdout == ""


def test_a_range_that_ends_before_it_begins_is_said_to_be_one(cli: Cli) -> None:
    backwards, empty, plain = cli("range", "z", "a"), cli("range", "a", "a"), cli("range", "a", "z")

    assert {one.stdout for one in (backwards, empty, plain)} == {"No results found\n"}
    assert backwards.stderr == (
        "START 'z' lies after END 'a', so no key can match: give the smaller first\n"
    )
    assert "END itself is not included" in empty.stderr
    assert plain.stderr == ""
    assert json.loads(cli("-f", "json", "range", "z", "a").stdout)["count"] == 0


@pytest.mark.parametrize("limit", [2**32 - 1, 2**32, 10**20])
def test_any_limit_may_be_asked_for(cli: Cli, limit: int) -> None:
    assert cli("set", "p", "v").exit_code == 0

    result = cli("-f", "json", "scan", "p", "--limit", str(limit))

    assert result.exit_code == 0
    assert json.loads(result.stdout)["count"] == 1


def test_scan_pages_through_everything_once(cli: Cli, served: FakeAql) -> None:
    keys = [f"p{number}" for number in range(7)]
    for key in keys:
        put(served, key.encode(), b"v")
    put(served, b"q", b"not this")

    seen: list[str] = []
    cursor: list[str] = []
    while True:
        page = json.loads(cli("-f", "json", "scan", "p", "--limit", "3", *cursor).stdout)
        seen += [one["key"] for one in page["results"]]
        if not page["has_more"]:
            break
        cursor = ["--cursor", page["next_cursor"]]

    assert seen == keys
    assert "next_cursor" not in page


def test_offset_leaves_out_the_first(cli: Cli, served: FakeAql) -> None:
    for key in (b"a", b"b", b"c"):
        put(served, key, b"v")

    lines = cli("-f", "ndjson", "scan", "--offset", "1", "--limit", "1").stdout.splitlines()

    assert [json.loads(one)["key"] for one in lines] == ["b"]


def test_a_wrong_cursor_is_an_error_that_says_what_to_do(cli: Cli) -> None:
    result = cli("scan", "--limit", "1", "--cursor", "junk")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "next_cursor" in result.stderr


def test_stale_reads_are_asked_for_and_tell_their_age(cli: Cli, served: FakeAql) -> None:
    put(served, b"k", b"v")

    result = json.loads(cli("-f", "json", "get", "k", "--stale").stdout)

    assert result["value"]["stale_by_at_most_ms"] == 250
    assert served.metadata[-1]["amaters-read"] == "stale"


BATCH = b"put a 1\n# a comment\n\n  put b two words \ndelete a\n"


def test_a_batch_tells_each_line_and_counts(cli: Cli, served: FakeAql) -> None:
    result = cli("batch", "-", stdin=BATCH)

    assert result.stdout.splitlines() == [
        "OK: put a",
        "OK: put b",
        "OK: delete a",
        "Batch complete: 3 total, 3 succeeded, 0 failed, 0 skipped",
    ]
    assert (result.exit_code, result.stderr) == (0, "")
    assert [key for _, key in served.store.data] == [b"b"]
    assert cli("get", "b", "--raw").stdout == "two words"


def test_a_batch_for_programs_is_one_object(cli: Cli) -> None:
    result = cli("-f", "json", "batch", "-", stdin=BATCH)

    assert json.loads(result.stdout) == {
        "status": "success",
        "operation": "batch",
        "total": 3,
        "succeeded": 3,
        "failed": 0,
        "skipped": 0,
    }


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("bogus line", "it begins neither with put nor with delete"),
        ("put", "it has no key"),
        ("put a", "it has no value"),
        ("delete", "it has no key"),
        ("delete a b", "something follows the key"),
        ('put "a b', "a quote is not closed"),
        ("put a 'b", "a quote is not closed"),
        ('put a "b" c', "something follows the quoted value"),
        ('delete "a" b', "something follows the key"),
    ],
)
@pytest.mark.parametrize("from_file", [False, True])
def test_a_malformed_line_is_named_and_nothing_is_written(
    cli: Cli, served: FakeAql, tmp_path: Path, line: str, why: str, from_file: bool
) -> None:
    text = "".join(f"put k{number} v\n" for number in range(250)) + f"# fine\n{line}\nput z v\n"
    (tmp_path / "lines").write_text(text)

    result = cli("batch", str(tmp_path / "lines") if from_file else "-", stdin=text)

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"line 252: {why}: {line}" in result.stderr
    assert "nothing was written" in result.stderr
    assert served.store.data == {}


def test_malformed_lines_are_told_in_the_format_of_the_results(cli: Cli) -> None:
    result = cli("-f", "json", "batch", "-", stdin="bogus\n" * 1000 + "put a b\n")

    told = json.loads(result.stderr)
    assert (result.exit_code, told["code"]) == (1, "invalid_request")
    assert told["message"].splitlines()[-1] == "and 990 more"
    assert len(told["message"].splitlines()) == 12


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ('put "a b" "c d"', b"a b", b"c d"),
        ("put 'a b' 'c \"d\"'", b"a b", b'c "d"'),
        (r'put "a \"b\"" "\\"', b'a "b"', b"\\"),
        ('put k ""', b"k", b""),
        ('put k it\'s "so"', b"k", b'it\'s "so"'),
        ("put it's k", b"it's", b"k"),
        ('put k {"json": "as it is"}', b"k", b'{"json": "as it is"}'),
        ("put k  # no comment", b"k", b"# no comment"),
        (b'put "\xff \xa0" "\x85 \xa0"', b"\xff \xa0", b"\x85 \xa0"),
    ],
)
def test_quotes_are_read_as_a_shell_would(
    cli: Cli, served: FakeAql, line: str | bytes, key: bytes, value: bytes
) -> None:
    result = cli("batch", "-", "--quiet", stdin=line)

    assert result.exit_code == 0, result.stderr
    [(found, blob)] = [(at[1], one) for at, one in served.store.data.items()]
    assert (found, types_pb2.CipherBlob.FromString(blob).data) == (key, value)


def test_a_quoted_key_is_deleted(cli: Cli, served: FakeAql) -> None:
    put(served, b"a b", b"v")

    assert cli("batch", "-", stdin='delete "a b"').exit_code == 0
    assert served.store.data == {}


@pytest.mark.slow
def test_a_pipe_is_read_to_its_end_before_anything_is_written(served: FakeAql, home: Path) -> None:
    run = [sys.executable, "-c", ENTRY, "-s", served.address, "batch", "-"]
    text = "".join(f"put k{number} {'v' * 1000}\n" for number in range(1000))

    good = subprocess.run(run, input=text.encode(), capture_output=True, check=False)
    bad = subprocess.run(run, input=(text + "bogus").encode(), capture_output=True, check=False)

    assert good.returncode == 0, good.stderr
    assert good.stdout.splitlines()[-1].startswith(b"Batch complete: 1000 total, 1000 succeeded")
    assert bad.returncode == 1
    assert b"line 1001: " in bad.stderr


def test_a_batch_is_written_in_chunks(cli: Cli, served: FakeAql) -> None:
    lines = "".join(f"put k{number} v\n" for number in range(250))

    cli("batch", "-", "--quiet", stdin=lines)

    assert [len(one.queries) for one in served.requests] == [100, 100, 50]  # type: ignore[union-attr]


def test_one_line_that_makes_no_sense_to_the_server_fails_alone(cli: Cli, served: FakeAql) -> None:
    refusal = errors_pb2.ErrorResponse(
        code=errors_pb2.ERROR_VALIDATION_SIZE_EXCEEDED, message="the key is too long"
    )
    served.refusals.extend([refusal, refusal])  # the chunk, then its first line alone

    result = cli("batch", "-", stdin="put bad 1\nput good 2\n")

    assert result.exit_code == 1
    assert "ERROR: line 1: " in result.stderr
    assert "the key is too long" in result.stderr
    assert result.stdout.splitlines() == [
        "OK: put good",
        "Batch complete: 2 total, 1 succeeded, 1 failed, 0 skipped",
    ]


def test_a_failure_is_said_on_stderr_in_the_format_of_the_results(bare: Cli) -> None:
    table = bare("-s", "127.0.0.1:1", "get", "k")
    as_json = bare("-s", "127.0.0.1:1", "-f", "json", "get", "k")
    as_lines = bare("-s", "127.0.0.1:1", "-f", "nul", "get", "k")

    for one in (table, as_json, as_lines):
        assert (one.exit_code, one.stdout) == (1, "")
    assert table.stderr.startswith("✗ Error: 127.0.0.1:1: cannot connect (Connection refused")
    assert json.loads(as_json.stderr)["code"] == "unreachable"
    assert as_lines.stderr.startswith("error: 127.0.0.1:1: cannot connect")


def test_a_mistyped_command_is_answered_with_a_similar_one(cli: Cli) -> None:
    assert "No such command 'gte'. Did you mean 'get'?" in cli("gte", "a").stderr
    assert "Did you mean" not in cli("zzz").stderr
