"""A server's figures in a person's words and units. Pure."""

from collections.abc import Callable, Iterator, Mapping

from rich.console import RenderableType
from rich.text import Text

from amaters.cli import tables
from amaters.cli.plain import Plain

WORDS: Mapping[str, str] = {
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
"""What we know, in the order it is shown; a newer server's other figures follow as they are."""

UNITS: tuple[tuple[str, Callable[[float], str]], ...] = (
    ("_bytes_per_second", lambda number: f"{tables.size(int(number))}/s"),
    ("_per_second", lambda number: f"{number:,.1f}/s"),
    ("_bytes", lambda number: tables.size(int(number))),
    ("_seconds", lambda number: tables.span(int(number))),
    ("_ms", lambda number: f"{number:,.2f} ms"),
    ("_rate", lambda number: f"{number:.1f} %"),
    ("_count", lambda number: f"{number:,.0f}"),
)
"""By how a figure's name ends; the first that fits."""


def figures_table(facts: Mapping[str, Plain]) -> RenderableType:
    """Return the figures, one a line."""
    return tables.pairs([(name, Text(value)) for name, value in spoken(facts)])


def spoken(facts: Mapping[str, Plain]) -> Iterator[tuple[str, str]]:
    """Yield what each figure is called, and its value with a unit."""
    for name in (*WORDS, *(name for name in facts if name not in WORDS)):
        if name in facts:
            yield WORDS.get(name, name), _amount(name, facts[name])


def _amount(name: str, value: Plain) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    unit = next((unit for ending, unit in UNITS if name.endswith(ending)), None)
    return f"{value:,}" if unit is None else unit(value)
