"""The limits of a TOML file, and where a file exceeds what Python's parser survives. Pure.

The parser recurses with the depth of a value, and reads numbers that it cannot print.
"""

import re
from typing import NamedTuple

DEEPEST = 16
"""Tables and lists within each other; no settings of this project need more than four."""
NUMBERS = range(-(2**63), 2**63)
"""The range of integers in TOML."""

_TOKEN = re.compile(
    r'#[^\n]*|"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\''
    r"|[\[\]{}\n]|\d[\d_]*",
    re.DOTALL,
)


class Culprit(NamedTuple):
    """Where the parser broke."""

    key: str
    line: int
    too_deep: bool
    """Else it is a number that is too long."""


def culprit(text: str) -> Culprit:
    """Find what the parser broke on: its own error does not name it."""
    table, statement, line, depth = "", 0, 1, 0
    for token in _TOKEN.finditer(text):
        word = token[0]
        depth += (word in "[{") - (word in "]}")
        if depth > DEEPEST or (word[0].isdecimal() and len(word) > len(str(NUMBERS.stop))):
            break
        if word == "\n" and depth == 0:
            content = text[statement : token.start()].strip()
            table = content.strip("[] ") if content.startswith("[") else table
            statement, line = token.end(), line + text.count("\n", statement, token.end())
    name = text[statement:].partition("=")[0].strip()
    key = ".".join(filter(None, (table, name)))
    return Culprit(key, line, depth > DEEPEST)
