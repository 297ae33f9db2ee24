"""The shell in a terminal, as a person sees it, and from a pipe."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amaters.testing.aql import FakeAql, stored
from amaters.testing.faults import Fault
from click.testing import Result

Cli = Callable[..., Result]
ENTRY = "from amaters.cli.entry import main; main()"


def put(fake: FakeAql, key: bytes, value: bytes, collection: str = "default") -> None:
    fake.store.data[collection, key] = stored(value).SerializeToString()


def start(screen: Any, address: str, home: Path) -> None:
    program = [sys.executable, "-c", ENTRY, "-s", address, "interactive"]
    screen.start(program, HOME=str(home), PROMPT_TOOLKIT_NO_CPR="1")
    screen.until(r"^amaters>$")


def still(text: str) -> str:
    """The screen without what is another one each time."""
    text = re.sub(r"REPL v\S+", "REPL vX", text)
    return re.sub(r"\d+\.\d ms", "N ms", text)


@pytest.mark.slow
def test_a_session_in_a_terminal(
    screen: Any, served: FakeAql, home: Path, golden: Callable[[str, str], None]
) -> None:
    put(served, b"order:1", b"\xff\xfe")
    put(served, b"order:2", b"v" * 300)
    put(served, b"ada", b"countess", "users")
    start(screen, served.address, home)

    screen.type("get order:2\r")
    screen.until(r"300 bytes")
    screen.type("scan order:\r")
    screen.until(r"\(2 results\)")
    screen.type("set note {\r")
    screen.until(r"^\.\.\. >$")
    screen.type("1}\r")
    screen.until(r"OK \(set 'note'\)")
    screen.type("\\timing\r")
    screen.until("Timing is on")
    screen.type("get note\r")
    screen.until(r"Time: .*ms$")
    screen.type("use us\t")
    screen.until(r"use users$")
    screen.type("\r")
    screen.until(r"^amaters\(users\)>$")
    screen.type("del")
    screen.type("\t")
    screen.until(r"^amaters\(users\)> delete ?$")
    screen.type("\x03")
    screen.until(r"> delete ?\n+amaters\(users\)>$")
    screen.type("!get n\r")
    screen.until("not found")
    screen.type("fly\r")
    seen = screen.until("is no command")
    screen.type("\x04")

    assert screen.ended() == 0
    golden("interactive", still(seen))
    assert ("default", b"note") in served.store.data
    lines = (home / ".amaters" / "history").read_text().splitlines()
    assert lines[:3] == ["get order:2", "scan order:", "set note { 1}"]


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_no_end(screen: Any, home: Path) -> None:
    start(screen, "127.0.0.1:1", home)

    screen.until("cannot connect")
    screen.type("status\r")
    screen.until(r"status\n.*cannot connect")
    screen.type("quit\r")
    assert screen.ended() == 0


@pytest.mark.slow
def test_ctrl_c_gives_up_a_command_and_not_the_shell(
    screen: Any, served: FakeAql, home: Path
) -> None:
    start(screen, served.address, home)
    served.faults.plan("ExecuteQuery", Fault(silent=True))

    screen.type("get k\r")
    screen.read(0.3)
    screen.type("\x03")
    screen.until("interrupted")
    screen.type("get k\r")
    screen.until("not found")


SCRIPT = """\
# a comment
set a one
get a
get nothing
get
set never this
"""


def test_a_script_ends_at_its_first_failure(cli: Cli, served: FakeAql, home: Path) -> None:
    result = cli("interactive", stdin=SCRIPT)

    assert result.exit_code == 1
    assert result.stdout == "OK (set 'a')\na = one\n(nil) key 'nothing' not found\n"
    assert "usage: get KEY" in result.stderr
    assert ("default", b"never") not in served.store.data
    assert not (home / ".amaters").exists()


def test_everything_a_shell_can_do(cli: Cli, served: FakeAql) -> None:
    put(served, b"k1", b"5")
    put(served, b"k2", b"7\n\x00")
    script = (
        "keys k\nrange k1 k2\nrange b a\ncollections\ncollection\nuse other\ncollection\nstatus\n"
        "info\nstats\ntiming off\nhelp\nuse default\nrm k1\nget k1\nhistory\nclear\nquit\nfly\n"
    )

    result = cli("interactive", stdin=script)

    assert result.exit_code == 0, result.stderr
    assert "k1\nk2\n(2 results)\nk1 = 5\n(1 result)\n(empty result set)\n" in result.stdout
    assert "default  2 keys" in result.stdout
    assert "serving, Service is healthy" in result.stdout
    assert "OK (deleted 'k1')" in result.stdout
    assert "commands: 10, failed: 0" in result.stdout or "commands: 9," in result.stdout
    assert "set KEY VALUE" in result.stdout


def test_queries_and_updates(cli: Cli, served: FakeAql) -> None:
    for number in range(5):
        put(served, b"k%d" % number, b"%d" % number)

    script = "query v >= 3\nupdate set v = x where v < 2\nquery v = x limit 1\nquery v >\n"
    result = cli("interactive", stdin=script)

    assert result.stdout == (
        "k3 = 3\nk4 = 4\n(2 results)\nOK (2 rows changed)\nk0 = x\n(1 result)\n"
    )
    assert "column 4: a value must follow >" in result.stderr
