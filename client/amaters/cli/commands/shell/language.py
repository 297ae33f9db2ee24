"""The lines of the shell: what they mean, when one continues, and which came before. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from amaters.cli.commands.batches import first_word, unquoted
from amaters.errors import InvalidRequestError

OPENING = {"(": ")", "[": "]", "{": "}"}
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True, slots=True)
class Verb:
    """A command of the shell."""

    name: str
    others: tuple[str, ...]
    usage: str
    help: str
    least: int = 0
    most: int = 0
    """Words that may follow."""
    rest: bool = False
    """Whether the last argument goes to the end of the line."""


VERBS = (
    Verb("set", ("put",), "set KEY VALUE", "store a value", 2, 2, rest=True),
    Verb("get", (), "get KEY", "show a value", 1, 1),
    Verb("delete", ("del", "rm"), "delete KEY", "delete a key", 1, 1),
    Verb("range", (), "range START END", "list the keys from START up to END", 2, 2),
    Verb("scan", (), "scan PREFIX", "list the keys that begin with PREFIX", 0, 2),
    Verb("keys", ("ls",), "keys [PREFIX]", "list keys without their values", 0, 1),
    Verb("query", ("select",), "query CONDITION", "list the rows that match", 1, 1, rest=True),
    Verb("update", (), "update SET … WHERE …", "change the rows that match", 1, 1, rest=True),
    Verb("use", (), "use COLLECTION", "work on another collection", 1, 1, rest=True),
    Verb("collection", ("coll",), "collection", "show which collection this is"),
    Verb("collections", (), "collections", "list the collections and their sizes"),
    Verb("status", (), "status", "ask the server whether it serves"),
    Verb("info", (), "info", "show the server's version and capabilities"),
    Verb("stats", (".stats",), "stats", "count what was done in this session"),
    Verb(
        "timing",
        (".timing", "\\timing"),
        "\\timing [on|off]",
        "show how long each command takes",
        0,
        1,
    ),
    Verb("history", (".history",), "history", "list what was typed; !! and !TEXT repeat it"),
    Verb("clear", ("cls", ".clear"), "clear", "clear the screen"),
    Verb("help", ("h", "?", ".help", "\\?"), "help", "show this list"),
    Verb("quit", ("exit", "q", "\\q"), "quit", "leave; so does Ctrl-D"),
)

_NAMED = {name: verb for verb in VERBS for name in (verb.name, *verb.others)}


@dataclass(frozen=True, slots=True)
class Line:
    """A command with its arguments."""

    verb: Verb
    arguments: tuple[bytes, ...]

    def text(self, place: int) -> str:
        """Return an argument as text."""
        return self.arguments[place].decode(errors="surrogateescape")


def parse(text: str) -> Line | None:
    """Return what a line means, None when it is empty or a comment.

    InvalidRequestError names the usage of a command that is not used so.
    """
    stripped = text.strip()
    if not stripped or stripped.startswith("#"):
        return None
    name, _, rest = stripped.partition(" ")
    verb = _NAMED.get(name.lower().rstrip(";") or name)
    if verb is None:
        raise InvalidRequestError(f"{name!r} is no command: see `help`")
    found = _arguments(verb, rest.strip())
    if not verb.least <= len(found) <= verb.most:
        raise InvalidRequestError(f"usage: {verb.usage}")
    return Line(verb, found)


def _arguments(verb: Verb, rest: str) -> tuple[bytes, ...]:
    left = rest.encode(errors="surrogateescape")
    found: list[bytes] = []
    try:
        while left:
            if verb.rest and len(found) == verb.most - 1:
                # A condition keeps its quotes, which mean something in it.
                found.append(left if verb.name in ("query", "update") else unquoted(left))
                break
            word, left = first_word(left)
            found.append(word)
    except ValueError as error:
        raise InvalidRequestError(f"{error}: usage: {verb.usage}") from error
    return tuple(found)


def continues(lines: Sequence[str]) -> bool:
    """Whether another line belongs to these: a backslash at their end, or an open bracket.

    Brackets between quotes do not count; a quote that stays open is an apostrophe.
    """
    if lines[-1].endswith("\\") and lines[-1].strip() != "\\":
        return True
    waiting: list[str] = []
    for letter in _QUOTED.sub("", joined(lines)):
        if letter in OPENING:
            waiting.append(OPENING[letter])
        elif waiting and letter == waiting[-1]:
            waiting.pop()
    return bool(waiting)


def joined(lines: Sequence[str]) -> str:
    """Return the lines as one; a backslash at the end of one disappears."""
    return " ".join(one[:-1].rstrip() if one.endswith("\\") else one for one in lines)


def recalled(text: str, history: Sequence[str]) -> str:
    """Replace `!!` and `!TEXT` by the last line, or the last that begins with TEXT."""
    stripped = text.strip()
    if not stripped.startswith("!"):
        return text
    prefix = "" if stripped == "!!" else stripped[1:]
    for line in reversed(history):
        if line.startswith(prefix):
            return line
    raise InvalidRequestError(f"nothing before begins with {prefix!r}: see `history`")
