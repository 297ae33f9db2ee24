"""Parse a configuration file into a document, or into one line per fault with its place.

Python's parser takes more than any configuration holds, and breaks on some of it: it recurses with
the depth of a value, and numbers of any length are read and cannot be printed. Both are bounded.
"""

import os
import stat
import tomllib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from amaters.toml_bounds import DEEPEST, NUMBERS, culprit

from amaters_server.config.aliases import Document
from amaters_server.config.faults import Fault, dotted, refusal
from amaters_server.model.errors import ConfigurationError

LARGEST_FILE = 1024 * 1024


def read(path: Path, what: str = "Configuration file", key: str = "--config") -> bytes:
    """Return the file's content; FileNotFoundError when it is not there.

    `what` it is and the `key` that names it are for the texts of ConfigurationError.
    """
    try:
        # A reload reads it on the event loop: the other end of a FIFO is not waited for.
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(opened, "rb") as file:
            if stat.S_ISFIFO(os.fstat(opened).st_mode):
                raise ConfigurationError(
                    f"{what} {path} is a pipe, which a reload cannot read again: name "
                    f"a file with {key}"
                )
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as wrong:
        reason = wrong.strerror if isinstance(wrong, OSError) else wrong
        raise ConfigurationError(
            f"{what} {path} cannot be read ({reason}): correct it, or name another one with {key}"
        ) from wrong
    if len(content) > LARGEST_FILE:
        raise ConfigurationError(
            f"{what} {path} has more than {LARGEST_FILE} bytes, which is no "
            f"configuration: name another one with {key}"
        )
    return content


def parsed(path: Path, content: bytes) -> Document:
    """Return the document; ConfigurationError when it is not TOML, or not within the bounds."""
    text = _text(path, content)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        raise ConfigurationError(
            f"Configuration file {path} is not TOML: {wrong}: correct that line"
        ) from wrong
    except (RecursionError, ValueError):
        where = culprit(text)
        what = TOO_DEEP if where.too_deep else TOO_LONG
        raise refusal([Fault(where.key, f"line {where.line}: {what}")]) from None
    beyond = list(_beyond(document))
    if beyond:
        raise refusal(beyond)
    return document


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as wrong:
        line = content.count(b"\n", 0, wrong.start) + 1
        raise ConfigurationError(
            f"Configuration file {path} is not TOML: line {line} is not UTF-8 (byte "
            f"0x{content[wrong.start]:02x}): save the file as UTF-8"
        ) from None


def _beyond(document: Document) -> Iterator[Fault]:
    """Walk what is nested too deeply or too large a number; recursion would be the same fault."""
    waiting: deque[tuple[tuple[str, ...], object]] = deque([((), document)])
    while waiting:
        names, value = waiting.popleft()
        if isinstance(value, (dict, list)):
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            if len(names) == DEEPEST:
                yield Fault(dotted(names), TOO_DEEP)
            else:
                waiting.extend(((*names, str(name)), one) for name, one in inner)
        elif isinstance(value, int) and value not in NUMBERS:
            yield Fault(dotted(names), TOO_LONG)


TOO_DEEP = f"tables and lists are nested more than {DEEPEST} deep, which no setting is: remove it"
TOO_LONG = "the number does not fit 64 bits: write a smaller one"
