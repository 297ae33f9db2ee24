"""The known keys, and suggestions for unknown ones."""

import difflib
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from amaters_server.config.aliases import Document
from amaters_server.config.settings import Settings

ALIKE = 0.75
"""The similarity of a known key to be suggested; a far-fetched one misleads."""

LONGEST_KEY = 80
"""Characters beyond which nothing is suggested: no key is half as long."""


def section_of(annotation: object) -> type[BaseModel] | None:
    """Return the section a field holds, also when it may be absent; None for plain values."""
    choices = getattr(annotation, "__args__", (annotation,))
    for choice in choices:
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            return choice
    return None


def may_be_shown(names: Sequence[str]) -> bool:
    """Return whether the value of that key, wrong as it is, can hold no secret of this program.

    Nothing is shown that is in a table with a secret, however deep, or in place of one.
    """
    known = Settings.model_fields.get(names[0]) if names else None
    return known is None or not _holds_secret(known)


def _holds_secret(field: FieldInfo) -> bool:
    inner = section_of(field.annotation)
    if inner is not None:
        return any(map(_holds_secret, inner.model_fields.values()))
    choices = getattr(field.annotation, "__args__", (field.annotation,))
    return SecretStr in choices


def unknown_keys(document: Document) -> Iterator[str]:
    """Walk the dotted keys of the document that no section knows."""
    yield from _unknown(document, Settings, "")


def nearest(key: str) -> str | None:
    """Return the key or table that was probably meant; None when nothing is spelled like it."""
    if len(key) > LONGEST_KEY:
        return None
    # Names first: keys of one table are alike because of the table alone.
    named_alike = [one for one in _known(Settings, "") if _alike(_name(one), _name(key))]
    same = [one for one in named_alike if _name(one) == _name(key)]
    if len(same) > 1:
        # Several tables have it: which one was meant is unknown, but for those of one listener.
        own = [one for one in same if not one.startswith("gateway.")]
        return own[0] if len(own) == 1 else None
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
