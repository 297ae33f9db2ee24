"""Text to tokens, each with its column."""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass

from amaters.errors import InvalidRequestError

LONGEST = 64 * 1024
"""Characters of a statement."""
_SHOWN = 60


class Kind(enum.Enum):
    """What a token is."""

    WORD = "word"
    """A column, a keyword, or a value without quotes."""
    TEXT = "text"
    BYTES = "bytes"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a statement."""

    kind: Kind
    text: str
    """As it was written."""
    value: bytes
    """The bytes it means as a value."""
    column: int
    """Of its first character, from 1."""

    @property
    def keyword(self) -> str:
        """A word in upper case; empty for anything else."""
        return self.text.upper() if self.kind is Kind.WORD else ""

    @property
    def shown(self) -> str:
        """How an error names it."""
        return "the end" if self.kind is Kind.END else self.text


class AqlError(InvalidRequestError):
    """A statement that cannot be read, with a mark at the column where it goes wrong."""

    def __init__(self, statement: str, column: int, why: str) -> None:
        self.column = column
        begin = max(0, column - 1 - _SHOWN)
        piece = statement[begin : column - 1 + _SHOWN].replace("\n", " ").replace("\t", " ")
        mark = " " * (column - 1 - begin) + "^"
        super().__init__(f"column {column}: {why}\n  {piece}\n  {mark}")


_TOKENS = re.compile(
    r"""
    (?P<blank>\s+)
    |0[xX](?P<hex>[0-9a-fA-F]*)(?![\w.])
    |(?P<word>-?[\w.][\w.\-:@/%]*)
    |(?P<symbol><=|>=|<>|!=|==|\+=|\*=|&&|\|\||[=<>!(),*;])
    """,
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}


def tokens(statement: str) -> Iterator[Token]:
    """Walk the tokens; the last one is the end. AqlError names the column of what is none."""
    if len(statement) > LONGEST:
        raise AqlError(statement, LONGEST, f"a statement has at most {LONGEST} characters")
    place = 0
    while place < len(statement):
        if statement[place] in "'\"":
            token, place = _quoted(statement, place)
            yield token
            continue
        found = _TOKENS.match(statement, place)
        if found is None:
            raise AqlError(statement, place + 1, f"{statement[place]!r} has no meaning here")
        if found.lastgroup != "blank":
            yield _token(statement, found)
        place = found.end()
    yield Token(Kind.END, "", b"", len(statement) + 1)


def _token(statement: str, found: "re.Match[str]") -> Token:
    text, column = found.group(), found.start() + 1
    match found.lastgroup:
        case "hex":
            if len(found["hex"]) % 2:
                raise AqlError(statement, column, f"{text} has half a byte: write two digits each")
            return Token(Kind.BYTES, text, bytes.fromhex(found["hex"]), column)
        case "word":
            return Token(Kind.WORD, text, text.encode(errors="surrogateescape"), column)
        case _:
            return Token(Kind.SYMBOL, text, b"", column)


def _quoted(statement: str, begin: int) -> tuple[Token, int]:
    """Read a text in quotes: a doubled quote is one of it, and so is what follows a backslash."""
    quote = statement[begin]
    letters: list[str] = []
    place = begin + 1
    while place < len(statement):
        letter = statement[place]
        if letter == "\\" and place + 1 < len(statement):
            letters.append(_ESCAPES.get(statement[place + 1], statement[place + 1]))
            place += 2
        elif letter == quote and statement[place + 1 : place + 2] == quote:
            letters.append(quote)
            place += 2
        elif letter == quote:
            value = "".join(letters).encode(errors="surrogateescape")
            return Token(Kind.TEXT, statement[begin : place + 1], value, begin + 1), place + 1
        else:
            letters.append(letter)
            place += 1
    raise AqlError(statement, begin + 1, f"the quote {quote} is not closed")
