"""What machine formats are made of, and how bytes and moments are written in them. Pure."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from amaters.values import Entry

Plain: TypeAlias = bool | int | float | str | Sequence["Plain"] | Mapping[str, "Plain"] | None
"""Anything JSON and YAML can say."""

BASE64_MARK = "BASE64:"


def text_or_base64(data: bytes) -> str:
    """Return printable text as it is, and everything else as BASE64: and its base64.

    Text that begins with the mark itself is marked too, so that reading back is unambiguous.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _marked(data)
    if text.startswith(BASE64_MARK) or not _is_printable(text):
        return _marked(data)
    return text


def moment(at: datetime) -> str:
    """Return the moment in RFC 3339, in UTC."""
    precision = "milliseconds" if at.microsecond else "seconds"
    return at.isoformat(timespec=precision).replace("+00:00", "Z")


def entry_facts(entry: Entry) -> dict[str, Plain]:
    """Return what is known about a value, and the value."""
    facts: dict[str, Plain] = {
        "checksum": entry.checksum,
        "created_at": moment(entry.created_at),
        "data": text_or_base64(entry.value),
        "size": len(entry.value),
    }
    if entry.age is not None:
        facts["stale_by_at_most_ms"] = int(entry.age.total_seconds() * 1000)
    return facts


def _marked(data: bytes) -> str:
    return BASE64_MARK + base64.b64encode(data).decode()


def _is_printable(text: str) -> bool:
    return all(letter.isprintable() or letter in "\n\t" for letter in text)
