"""The keys there are, and what to say of those that are none."""

import difflib
from collections.abc import Iterator

from pydantic import BaseModel

from amaters_server.config.aliases import Document
from amaters_server.config.settings import Settings

ALIKE = 0.75
"""How alike a known key must be to be offered; a far-fetched one misleads more than it helps."""


def section_of(annotation: object) -> type[BaseModel] | None:
    """Return the section a field holds, also when it may be absent; None for plain values."""
    choices = getattr(annotation, "__args__", (annotation,))
    for choice in choices:
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            return choice
    return None


def unknown_keys(document: Document) -> Iterator[str]:
    """Walk the dotted keys of the document that no section knows."""
    yield from _unknown(document, Settings, "")


def nearest(key: str) -> str | None:
    """Return the key or table that was probably meant; None when nothing is spelled like it."""
    # Names first: keys of one table are alike for the table's sake alone.
    named_alike = [one for one in _known(Settings, "") if _alike(_name(one), _name(key))]
    if sum(_name(one) == _name(key) for one in named_alike) > 1:
        return None  # Several tables have it, and which was meant nobody can tell.
    found = difflib.get_close_matches(key, named_alike, n=1, cutoff=ALIKE)
    return found[0] if found else None


def _name(key: str) -> str:
    return key.rpartition(".")[2]


def _alike(one: str, other: str) -> bool:
    return difflib.SequenceMatcher(None, one, other).ratio() >= ALIKE


def _unknown(table: Document, section: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, value in table.items():
        known = section.model_fields.get(name)
        if known is None:
            yield prefix + name
            continue
        inner = section_of(known.annotation)
        if inner is not None and isinstance(value, dict):
            yield from _unknown(value, inner, f"{prefix}{name}.")


def _known(section: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield prefix + name
        inner = section_of(field.annotation)
        if inner is not None:
            yield from _known(inner, f"{prefix}{name}.")
