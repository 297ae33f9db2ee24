"""TOML that a person wrote, or anybody: to tables, or to an error that says where it is wrong.

Python's parser recurses with the depth of a value, and reads numbers that it cannot print: both
are bounded here.
"""

import re
import tomllib
from collections import deque
from pathlib import Path

from amaters.errors import ConfigurationError

Tables = dict[str, object]

LARGEST_FILE = 1024 * 1024
DEEPEST = 16
"""Tables and lists within each other; the settings need two."""
NUMBERS = range(-(2**63), 2**63)
"""What TOML promises to hold."""

TOO_DEEP = f"is nested more than {DEEPEST} deep"
TOO_LONG = "holds a number that does not fit 64 bits"

_TOKEN = re.compile(
    r'#[^\n]*|"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\''
    r"|[\[\]{}\n]|\d[\d_]*",
    re.DOTALL,
)


def read(path: Path) -> Tables:
    """Return the file's tables, none when it is not there; ConfigurationError says what is wrong."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"cannot read {path} ({error.strerror})") from error
    if len(content) > LARGEST_FILE:
        raise ConfigurationError(
            f"{path} has more than {LARGEST_FILE} bytes: that is no settings file"
        )
    try:
        return parsed(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unusable(path, f"line {line} is not UTF-8") from None
    except ValueError as error:
        raise _unusable(path, str(error)) from error


def _unusable(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not TOML that can be used ({why}): correct that line, or start anew with "
        "`amaters-cli config init --force`"
    )


def parsed(text: str) -> Tables:
    """Return the tables; ValueError says what is wrong and where."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except (RecursionError, ValueError):
        raise ValueError(_culprit(text)) from None
    _require_bounded(tables)
    return tables


def _require_bounded(tables: Tables) -> None:
    waiting: deque[tuple[tuple[str, ...], object]] = deque([((), tables)])
    while waiting:
        names, value = waiting.popleft()
        if isinstance(value, (dict, list)):
            if len(names) == DEEPEST:
                raise ValueError(f"{names[0]!r} {TOO_DEEP}")
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            waiting.extend(((*names, str(name)), one) for name, one in inner)
        elif isinstance(value, int) and value not in NUMBERS:
            raise ValueError(f"{'.'.join(names)!r} {TOO_LONG}")


def _culprit(text: str) -> str:
    """Find what the parser broke on, which it does not say itself."""
    table, statement, line, depth = "", 0, 1, 0
    for token in _TOKEN.finditer(text):
        word = token[0]
        depth += (word in "[{") - (word in "]}")
        if depth > DEEPEST or (word[0].isdecimal() and len(word) > len(str(NUMBERS.stop))):
            break
        if word == "\n" and depth == 0:
            said = text[statement : token.start()].strip()
            table = said.strip("[] ") if said.startswith("[") else table
            statement, line = token.end(), line + text.count("\n", statement, token.end())
    name = text[statement:].partition("=")[0].strip()
    key = ".".join(filter(None, (table, name)))
    return f"line {line}: {key!r} {TOO_DEEP if depth > DEEPEST else TOO_LONG}"
