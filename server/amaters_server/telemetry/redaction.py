"""Keeps secrets out of all log lines: by the field's name, and by how they look.

Nothing here should ever have to act: configuration holds secrets as `SecretStr`, and code does not
log them. It is the last fence before a file, a terminal, and the log stream of the admin service.

It also bounds a record: strangers have a say in some fields, and a line is formatted on the event
loop. So texts and lists are cut, and no pattern reads a character more often than a few times.
"""

import re
from collections.abc import Mapping, MutableMapping
from itertools import islice

MASK = "***"
LONGEST_TEXT = 8 * 1024
"""Characters of a text that are kept: its beginning and its end."""
_END = 2 * 1024
_LONGEST_READ = 256 * 1024
"""Characters of a text that are looked at."""
MOST_ITEMS = 256
"""Values of a list or a table that are kept."""

_NAMES = re.compile(
    r"passw(or)?d|passphrase|secret|token|authorization|cookie|credential|api_?key|"
    r"private_?key|access_?key",
    re.IGNORECASE,
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"(?<=\w://)[^/\s@]*@"), f"{MASK}@"),
    (
        re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(-----END \1-----|\Z)", re.DOTALL),
        rf"-----BEGIN \1----- {MASK}",
    ),
    (
        re.compile(
            r"((?:passw(?:or)?d|secret|token|api[_-]?key|signature|credential)[\w-]{0,64}=)[^&\s\"']+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
)


def redacted(event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    """Mask, in place, every field of a record that is or holds a secret."""
    for name, value in event.items():
        event[name] = MASK if _is_secret(name, value) else masked(value)
    return event


def masked(value: object) -> object:
    """Return the value with every secret in it masked; what is not plain comes back as text."""
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _text(value)
        case bytes():
            return _text(value.decode(errors="backslashreplace"))
        case Mapping():
            kept = islice(value.items(), MOST_ITEMS)
            return redacted({str(name): inner for name, inner in kept})
        case list() | tuple() | set() | frozenset():
            more = [f"… and {len(value) - MOST_ITEMS} more"] if len(value) > MOST_ITEMS else []
            return [masked(one) for one in islice(value, MOST_ITEMS)] + more
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    read = text[:_LONGEST_READ]
    for pattern, by in _PATTERNS:
        read = pattern.sub(by, read)
    if len(read) <= LONGEST_TEXT:
        return read
    # The end of what was not read to its end may be the half of a secret.
    end = read[-_END:] if len(text) <= _LONGEST_READ else ""
    return f"{read[: LONGEST_TEXT - _END]} … of {len(text)} characters … {end}"


def _is_secret(name: str, value: object) -> bool:
    """Numbers and yes or no are never secrets: `tokens_left=3` may be read."""
    return bool(_NAMES.search(name)) and not isinstance(value, int | float | type(None))
