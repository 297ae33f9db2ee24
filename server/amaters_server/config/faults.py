"""Faults of a configuration as lines for a person: one per fault, none with a secret.

Each line is one sentence: the path of the key, what is wrong, and what to do. A value is part of it
only where no secret can be meant: nothing at or below a table that holds one anywhere is, because a
mix-up of two keys, or of a table and a value, may involve a secret.
"""

import difflib
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from pydantic_core import ErrorDetails

from amaters_server.model.errors import ConfigurationError
from amaters_server.model.urls import without_credentials

MOST_LINES = 20
LONGEST_LINE = 400
"""Characters of a message, and of a key."""


LONGEST_VALUE = 80
"""Characters of a value in a message."""

PUBLISHED_TEXTS = {
    "storage.engine": "Invalid storage engine: {value}. Must be 'memory' or 'lsm'",
    "logging.level": "Invalid log level: {value}. Must be trace, debug, info, warn or error",
    "authz.default_mode": (
        "Invalid authorization mode: {value}. Must be 'deny-by-default' or 'allow-by-default'"
    ),
}

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_NUMBER = ("a whole number belongs here", "write one without quotes, point and unit")
_TABLE = ("a table belongs here", "write its name in square brackets, and its keys below")
_WRONG_KINDS = {
    "model_type": _TABLE,
    "model_attributes_type": _TABLE,
    "dict_type": ("a table belongs here", 'write it in braces, such as {"…" = ["…"]}'),
    "path_type": ("a path belongs here", "write it in quotes"),
    "string_type": ("text belongs here", "write it in quotes"),
    "tuple_type": ("a list belongs here", 'write it in square brackets, such as ["…", "…"]'),
    "bool_type": ("true or false belongs here", "write one of them, without quotes"),
    "bool_parsing": ("true or false belongs here", "write one of them, without quotes"),
    "int_type": _NUMBER,
    "int_parsing": _NUMBER,
    "int_parsing_size": _NUMBER,
    "int_from_float": _NUMBER,
    "finite_number": _NUMBER,
}
"""What belongs at a key of each kind, and what to do; by the name of pydantic's error."""
_BOUNDS = {
    "greater_than_equal": ("ge", "less than {0}", "write {0} or more"),
    "less_than_equal": ("le", "more than {0}", "write {0} or less"),
}


class Fault(NamedTuple):
    """One thing wrong with the configuration."""

    key: str
    message: str
    """What is wrong with the key, and what to do; may begin with the key itself."""

    @property
    def line(self) -> str:
        """The sentence; the path of the key begins it."""
        key = one_line(self.key)
        message = one_line(self.message)
        return message if message.startswith(f"{key} ") else f"{key}: {message}"


def refusal(faults: Sequence[Fault]) -> ConfigurationError:
    """Return the error that names all of them, a line each."""
    lines = [fault.line for fault in faults[:MOST_LINES]]
    left = len(faults) - MOST_LINES
    if left > 0:
        lines.append(f"{left} more faults: correct these first")
    return ConfigurationError("\n".join(lines))


def in_our_words(error: ErrorDetails, *, shown: bool) -> Fault:
    """Return what pydantic found; without the value unless it may be `shown`."""
    key = dotted([str(part) for part in error["loc"]])
    kind, facts = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return Fault(key, str(facts.get("error", error["msg"])))
    if shown and key in PUBLISHED_TEXTS:
        given = error["input"]
        named = given if isinstance(given, str) else _brief(given)
        return Fault(key, PUBLISHED_TEXTS[key].format(value=named))
    value = _brief(error["input"]) if shown else ""
    if kind in _BOUNDS:
        name, wrong, instead = _BOUNDS[kind]
        bound = facts[name]
        return Fault(
            key, f"{value or 'the number'} is {wrong.format(bound)}: {instead.format(bound)}"
        )
    if kind == "literal_error":
        return Fault(key, _no_choice(error["input"], value, str(facts["expected"])))
    belongs, instead = _WRONG_KINDS.get(kind, ("another value belongs here", "correct it"))
    return Fault(key, f"{belongs}, not {value}: {instead}" if value else f"{belongs}: {instead}")


def dotted(names: Sequence[str]) -> str:
    """Return the path of a key as TOML writes it."""
    return ".".join(one if _BARE.fullmatch(one) else json.dumps(one) for one in names)


def _no_choice(given: object, value: str, expected: str) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    listed = " or ".join(filter(None, (", ".join(map(repr, choices[:-1])), repr(choices[-1]))))
    near = difflib.get_close_matches(str(given), choices, n=1) if value else []
    meant = f"did you mean {near[0]!r}? Write" if near else "write"
    return f"{value or 'the value'} is none of the choices: {meant} {listed}"


def _brief(value: object) -> str:
    """Return the value as TOML has it; lists and tables by their kind only."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a table"
    text = repr(value) if isinstance(value, str) else str(value)
    text = text.lower() if isinstance(value, bool) else text
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def one_line(text: str) -> str:
    """Return the text as one short line, without control characters and credentials."""
    # Masked first: a password is not recognised in an address that is cut in its middle.
    masked = without_credentials(text)
    short = masked if len(masked) <= LONGEST_LINE else f"{masked[:LONGEST_LINE]}…"
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in short)
