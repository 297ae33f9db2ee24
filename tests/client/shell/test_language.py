"""Lines of the shell: commands, their words, their continuation, and what is recalled."""

from pathlib import Path

import pytest
from amaters.cli.commands.shell import language
from amaters.cli.commands.shell.history import MOST, History, default_path
from amaters.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("set k some  words", "set", (b"k", b"some  words")),
        ("PUT 'a key' \"quoted\"", "set", (b"a key", b"quoted")),
        ("set k it's", "set", (b"k", b"it's")),
        ("get k", "get", (b"k",)),
        ("rm k", "delete", (b"k",)),
        ("range a b", "range", (b"a", b"b")),
        ("ls", "keys", ()),
        ("use my users", "use", (b"my users",)),
        ("query value = 'a b'", "query", (b"value = 'a b'",)),
        ("update set v = 'x' where *", "update", (b"set v = 'x' where *",)),
        ("\\timing on", "timing", (b"on",)),
        (".stats", "stats", ()),
        ("exit;", "quit", ()),
        ("?", "help", ()),
    ],
)
def test_commands(text: str, name: str, arguments: tuple[bytes, ...]) -> None:
    line = language.parse(text)

    assert line is not None
    assert (line.verb.name, line.arguments) == (name, arguments)


@pytest.mark.parametrize("text", ["", "   ", "# set a b"])
def test_what_is_no_command(text: str) -> None:
    assert language.parse(text) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fly", "'fly' is no command: see `help`"),
        ("get", "usage: get KEY"),
        ("get a b", "usage: get KEY"),
        ("set k", "usage: set KEY VALUE"),
        ("get 'a", "a quote is not closed: usage: get KEY"),
        ("range a", "usage: range START END"),
    ],
)
def test_misuse_shows_the_usage(text: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        language.parse(text)


@pytest.mark.parametrize(
    ("lines", "more"),
    [
        (["set k \\"], True),
        (["set k {", '"a": 1'], True),
        (["set k {", '"a": 1', "}"], False),
        (["query (v = ')'"], True),
        (["query (v = ')')"], False),
        (["set k it's"], False),
        (["\\"], False),
    ],
)
def test_continuation(lines: list[str], more: bool) -> None:
    assert language.continues(lines) is more


def test_lines_are_joined_by_a_blank() -> None:
    assert language.joined(["set k \\", "a", "b"]) == "set k a b"


def test_recalling() -> None:
    before = ["get a", "set a 1", "get b"]

    assert language.recalled("!!", before) == "get b"
    assert language.recalled("!set", before) == "set a 1"
    assert language.recalled("get c", before) == "get c"
    with pytest.raises(InvalidRequestError, match="nothing before begins with 'del'"):
        language.recalled("!del", before)


def test_the_history_is_kept_bounded_and_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "history"
    first = History(path)
    for line in ["get a", "get a", "# no", " ", "set a {\n1}"]:
        first.add(line)
    first.save()
    again = History(path)

    assert again.lines == ["get a", "set a { 1}"]
    assert path.stat().st_mode & 0o077 == 0
    for number in range(MOST + 5):
        again.add(f"get {number}")
    again.save()
    assert len(path.read_text().splitlines()) == MOST


def test_a_history_that_cannot_be_kept_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    history = History(tmp_path / "file" / "history")
    history.add("get a")

    history.save()

    assert history.lines == ["get a"]


def test_where_the_history_is() -> None:
    assert default_path({"HOME": "/h"}) == Path("/h/.amaters/history")
    assert default_path({"HOME": "/h", "XDG_DATA_HOME": "/d"}) == Path("/d/amaters/history")
