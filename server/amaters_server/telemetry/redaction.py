"""Keeps secrets out of all log lines: by the field's name, and by how they look.

Nothing here should ever have to act: configuration holds secrets as `SecretStr`, and code does not
log them. It is the last fence before a file, a terminal, and the log stream of the admin service.
"""

import re
from collections.abc import Mapping, MutableMapping

MASK = "***"

_NAMES = re.compile(
    r"passw(or)?d|passphrase|secret|token|authorization|cookie|credential|api_?key|"
    r"private_?key|access_?key",
    re.IGNORECASE,
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"(\w[\w+.-]*://)[^/\s@]*@"), rf"\1{MASK}@"),
    (
        re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(-----END \1-----|\Z)", re.DOTALL),
        rf"-----BEGIN \1----- {MASK}",
    ),
    (
        re.compile(
            r"((?:passw(?:or)?d|secret|token|api[_-]?key|signature|credential)[\w-]*=)[^&\s\"']+",
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
            return redacted({str(name): inner for name, inner in value.items()})
        case list() | tuple() | set() | frozenset():
            return [masked(one) for one in value]
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    for pattern, by in _PATTERNS:
        text = pattern.sub(by, text)
    return text


def _is_secret(name: str, value: object) -> bool:
    """Numbers and yes or no are never secrets: `tokens_left=3` may be read."""
    return bool(_NAMES.search(name)) and not isinstance(value, int | float | type(None))
