"""Text for values: bytes, timestamps, durations, sizes, and a server's metrics. Pure."""

import base64
import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol, TypeAlias

from amaters.values import Entry

JsonValue: TypeAlias = (
    bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
)
"""Any value of JSON and YAML."""

BASE64_MARK = "BASE64:"


class Dataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


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


def timestamp(at: datetime) -> str:
    """Return the time in RFC 3339, in UTC."""
    precision = "milliseconds" if at.microsecond else "seconds"
    return at.isoformat(timespec=precision).replace("+00:00", "Z")


def facts_of(value: Dataclass, *without: str) -> dict[str, JsonValue]:
    """Return the fields of a frozen value for machine formats, without those named."""
    return {
        one.name: _as_json(getattr(value, one.name))
        for one in fields(value)
        if one.name not in without
    }


def _as_json(value: object) -> JsonValue:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return timestamp(value)
        case enum.Enum():
            return str(value.value)
        case tuple():
            return [_as_json(one) for one in value]
        case Mapping():
            return {str(name): _as_json(one) for name, one in value.items()}
        case _ if is_dataclass(value) and not isinstance(value, type):
            return facts_of(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no form in JSON")


def entry_facts(entry: Entry) -> dict[str, JsonValue]:
    """Return a value with its metadata."""
    facts: dict[str, JsonValue] = {
        "checksum": entry.checksum,
        "created_at": timestamp(entry.created_at),
        "data": text_or_base64(entry.value),
        "size": len(entry.value),
    }
    if entry.age is not None:
        facts["stale_by_at_most_ms"] = int(entry.age.total_seconds() * 1000)
    return facts


def _marked(data: bytes) -> str:
    return BASE64_MARK + base64.b64encode(data).decode()


def _is_printable(text: str) -> bool:
    return text.isprintable() or all(letter.isprintable() or letter in "\n\t" for letter in text)


def count(number: int, noun: str) -> str:
    """Format a number of things: "1 key", "2000 keys"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def size(count: int) -> str:
    """Return a number of bytes in a readable unit."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:  # noqa: PLR2004
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def since(at: datetime | None, now: datetime) -> str:
    """Return how long ago that was, in one or two units."""
    if at is None:
        return "-"
    return duration(int((now - at).total_seconds()))


def duration(seconds: int) -> str:
    """Return a length of time in one or two units."""
    past = seconds < 0
    left = abs(seconds)
    days, left = divmod(left, 86_400)
    hours, left = divmod(left, 3600)
    minutes, left = divmod(left, 60)
    units = [(days, "d"), (hours, "h"), (minutes, "m"), (left, "s")]
    while len(units) > 1 and not units[0][0]:
        units.pop(0)
    text = " ".join(f"{count}{unit}" for count, unit in units[:2] if count) or "0s"
    return f"-{text}" if past else text


LABELS: Mapping[str, str] = {
    "storage_type": "Storage",
    "uptime_seconds": "Up",
    "key_count": "Keys",
    "database_size_bytes": "Size",
    "cache_hit_rate": "Cache Hits",
    "queries_per_second": "Queries",
    "avg_query_latency_ms": "Latency, average",
    "p95_latency_ms": "Latency, 95 %",
    "p99_latency_ms": "Latency, 99 %",
    "network_bytes_per_second": "Network",
}
"""Known metrics, in the order of display; those of a newer server follow unlabelled."""

UNITS: tuple[tuple[str, Callable[[float], str]], ...] = (
    ("_bytes_per_second", lambda number: f"{size(int(number))}/s"),
    ("_per_second", lambda number: f"{number:,.1f}/s"),
    ("_bytes", lambda number: size(int(number))),
    ("_seconds", lambda number: duration(int(number))),
    ("_ms", lambda number: f"{number:,.2f} ms"),
    ("_rate", lambda number: f"{number:.1f} %"),
    ("_count", lambda number: f"{number:,.0f}"),
)
"""By the end of a metric's name; the first that fits."""


def labelled(facts: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    """Yield the label of each metric, and its value with a unit."""
    for name in (*LABELS, *(name for name in facts if name not in LABELS)):
        if name in facts:
            yield LABELS.get(name, name), _amount(name, facts[name])


def _amount(name: str, value: JsonValue) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    unit = next((unit for ending, unit in UNITS if name.endswith(ending)), None)
    return f"{value:,}" if unit is None else unit(value)
