"""Faults of a configuration as lines for a person: one per fault, none with a secret.

A value is shown only where no secret can be meant: nothing at or below a table that holds one
anywhere is, because a mix-up of two keys, or of a table and a value, may involve a secret.
"""

from collections.abc import Sequence
from typing import NamedTuple

from amaters_server.model.errors import ConfigurationError
from amaters_server.model.urls import without_credentials

MOST_LINES = 20
LONGEST_LINE = 400
"""Characters of a message, and of a key."""


class Fault(NamedTuple):
    """One thing wrong with the configuration."""

    key: str
    message: str


def refusal(faults: Sequence[Fault]) -> ConfigurationError:
    """Return the error that names all of them, a line each."""
    lines = [
        f"Validation error: {one_line(fault.message)} [{one_line(fault.key)}]"
        for fault in faults[:MOST_LINES]
    ]
    left = len(faults) - MOST_LINES
    if left > 0:
        lines.append(f"Validation error: {left} more faults: correct these first")
    return ConfigurationError("\n".join(lines))


def one_line(text: str) -> str:
    """Return the text as one short line, without control characters and credentials."""
    # Masked first: a password is not recognised in an address that is cut in its middle.
    masked = without_credentials(text)
    short = masked if len(masked) <= LONGEST_LINE else f"{masked[:LONGEST_LINE]}…"
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in short)
