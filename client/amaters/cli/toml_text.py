"""Parse TOML of any origin into tables, or into an error that names the line.

Python's parser recurses with the depth of a value, and reads numbers that it cannot print: both
are bounded here.
"""

import tomllib
from collections import deque
from pathlib import Path

from amaters.errors import ConfigurationError
from amaters.toml_bounds import DEEPEST, NUMBERS, culprit

Tables = dict[str, object]

LARGEST_FILE = 1024 * 1024

TOO_DEEP = f"is nested more than {DEEPEST} deep"
TOO_LONG = "holds a number that does not fit 64 bits"


def read(path: Path) -> Tables:
    """Return the file's tables, none without a file; ConfigurationError names what is wrong."""
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
        f"{path} is not TOML that can be used ({why}): correct that line, or replace "
        "the file with `amaters-cli config init --force`"
    )


def parsed(text: str) -> Tables:
    """Return the tables; ValueError says what is wrong and where."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except (RecursionError, ValueError):
        where = culprit(text)
        what = TOO_DEEP if where.too_deep else TOO_LONG
        raise ValueError(f"line {where.line}: {where.key!r} {what}") from None
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
