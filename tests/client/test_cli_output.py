"""Output decides nothing: streams that are closed, full, or lack letters."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from amaters.testing.aql import FakeAql, stored

ENTRY = "from amaters.cli.entry import main; main()"
ASCII = "PYTHONIOENCODING=ascii PYTHONUTF8=0 LC_ALL=C "


def shell(served: FakeAql, home: Path, line: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which `cli` is the program, told where the server is."""
    program = f"{sys.executable} -c '{ENTRY}' -s {served.address}"
    text = f'set -o pipefail; cli() {{ {program} "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", text],
        capture_output=True,
        check=False,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        timeout=60,
    )


def put(fake: FakeAql, key: str, value: str) -> None:
    fake.store.data["default", key.encode()] = stored(value.encode()).SerializeToString()


@pytest.mark.parametrize(
    "where", ["> /dev/full", ">&-", "2> /dev/full > /dev/full", ">&- 2>&- <&-", "| head -c 0"]
)
def test_a_write_is_done_and_says_so_wherever_its_output_goes(
    served: FakeAql, home: Path, where: str
) -> None:
    result = shell(served, home, f"cli set k v {where}")

    assert result.returncode == 0, result.stderr
    assert ("default", b"k") in served.store.data


def test_a_lost_confirmation_is_told_on_stderr(served: FakeAql, home: Path) -> None:
    result = shell(served, home, "printf 'put a 1\\nput b 2\\n' | cli batch - > /dev/full")

    assert result.returncode == 0
    assert result.stderr == (
        b"the command is done, its output was not written: No space left on device\n"
    )
    assert len(served.store.data) == 2


def test_a_letter_that_the_terminal_lacks_is_no_failure(served: FakeAql, home: Path) -> None:
    put(served, "k", "grüße ☃")

    written = shell(served, home, f"{ASCII} cli set ☃ v")
    read = shell(served, home, f"{ASCII} cli -f json get k")
    table = shell(served, home, f"{ASCII} cli get k")

    assert written.returncode == 0, written.stderr
    assert written.stdout == b"OK Successfully set key: \\u2603\n"
    assert ("default", "☃".encode()) in served.store.data
    assert json.loads(read.stdout)["value"]["data"] == "grüße ☃"
    assert read.stdout.isascii()
    assert b"gr\\xfc\\xdfe \\u2603" in table.stdout


def test_a_result_that_cannot_be_written_is_a_failure(served: FakeAql, home: Path) -> None:
    put(served, "k", "v")

    for line in ("get k", "get k --raw", "-f ndjson scan", "server status"):
        result = shell(served, home, f"cli {line} > /dev/full")

        assert result.returncode == 1, line
        assert b"No space left on device" in result.stderr


def test_a_reader_that_has_seen_enough_is_no_failure(served: FakeAql, home: Path) -> None:
    for number in range(3000):
        put(served, f"k{number:04}", "v" * 100)

    result = shell(served, home, "cli -f ndjson scan | head -n 1")

    assert (result.returncode, result.stderr) == (0, b"")
    assert json.loads(result.stdout)["key"] == "k0000"


def test_a_miss_may_be_told_by_the_exit_code(served: FakeAql, home: Path) -> None:
    put(served, "k", "v")

    missed = shell(served, home, "cli get --exit-code none")
    found = shell(served, home, "cli get --exit-code --raw k")

    assert missed.returncode == 1
    assert missed.stdout.decode() == "✗ Key not found: none\n"
    assert (found.returncode, found.stdout) == (0, b"v")


def test_powershell_is_told_what_may_follow(served: FakeAql, home: Path) -> None:
    asked = "_AMATERS_CLI_COMPLETE=powershell_complete"

    words = shell(served, home, f"{asked} COMP_WORDS='amaters-cli cl' COMP_WORD=cl cli")
    inner = shell(served, home, f"{asked} COMP_WORDS='amaters-cli cluster ' COMP_WORD= cli")

    assert words.stdout.startswith(b"plain\tcluster\tManage the members")
    assert b"plain\ttransfer\t" in inner.stdout
