"""Reading JSON of any shape: what is missing or of another type is empty, never an error. Pure.

The objects come from operators and API servers of any version.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

Fields = Mapping[str, Any]
"""An object of the Kubernetes API, or a part of one."""

_NOTHING: Final[Fields] = {}


def part(source: object, *path: str) -> Fields:
    """Return the object at that path."""
    for name in path:
        source = source.get(name) if isinstance(source, Mapping) else None
    return source if isinstance(source, Mapping) else _NOTHING


def parts(source: Fields, name: str) -> list[Fields]:
    """Return the objects of the list of that name."""
    found = source.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def texts(source: Fields, name: str) -> tuple[str, ...]:
    """Return the texts of the list of that name."""
    found = source.get(name)
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


def text(source: Fields, name: str) -> str:
    """Return the text of that name; a number is text, too."""
    found = source.get(name)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return ""
    return str(found)


def number(source: Fields, name: str) -> int | None:
    """Return the number of that name."""
    found = source.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    try:
        return int(found)
    except (OverflowError, ValueError):
        return None


def flag(source: Fields, name: str) -> bool:
    """Return whether it is true."""
    return source.get(name) is True


def moment(source: Fields, name: str) -> datetime | None:
    """Return the time of that name, in UTC."""
    try:
        found = datetime.fromisoformat(text(source, name))
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
