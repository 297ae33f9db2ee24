"""Lines of the members' logs: their time, level and text, whatever the format. Pure.

`kubectl logs --timestamps` puts the time of the container runtime before each line. The rest is a
JSON object, text, or a piece of a traceback.
"""

import heapq
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

LEVELS: Final = ("trace", "debug", "info", "warning", "error", "critical")
_ALIASES: Final = {"warn": "warning", "fatal": "critical"}
_WORD: Final = re.compile(
    r"(?:^|[\s\[|])(trace|debug|info|warn|warning|error|critical|fatal)(?=[\s\]:|]|$)",
    re.IGNORECASE,
)
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})")
_HEAD: Final = 80
"""Characters of a text in which its level is looked for."""


@dataclass(frozen=True, slots=True, order=True)
class LogLine:
    """One line."""

    at: str
    """RFC 3339 in UTC with all digits of the runtime: it sorts as text."""
    pod: str
    level: str
    said: str
    """The line as it was logged."""


def parsed(lines: Iterable[str], pod: str) -> Iterator[LogLine]:
    """Yield the lines of a pod; one without a level has that of the line before it."""
    level, time = "info", ""
    for raw in lines:
        stamp, _, said = raw.rstrip("\r\n").partition(" ")
        if _TIME.fullmatch(stamp):
            time = _sortable(stamp)
        else:
            said = raw.rstrip("\r\n")
        level = level_of(said) or level
        yield LogLine(time, pod, level, said)


def merged(logs: Iterable[Iterable[LogLine]]) -> Iterator[LogLine]:
    """Yield the lines of all pods by time; those of one pod keep their order."""
    yield from heapq.merge(*logs, key=lambda one: one.at)


def level_of(said: str) -> str:
    """Return the level that the line names; empty when it names none."""
    fields = fields_of(said)
    if fields is not None:
        named = str(fields.get("level", "")).lower()
    else:
        found = _WORD.search(said[:_HEAD])
        named = found[1].lower() if found else ""
    named = _ALIASES.get(named, named)
    return named if named in LEVELS else ""


def fields_of(said: str) -> Mapping[str, object] | None:
    """Return the fields of a JSON line; None when it is text."""
    if not said.startswith("{"):
        return None
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def reaches(level: str, least: str) -> bool:
    """Return whether the level is at least the other one."""
    return LEVELS.index(level) >= LEVELS.index(_ALIASES.get(least, least))


def readable(said: str) -> str:
    """Return a JSON line as people read it: the event, then its fields."""
    fields = fields_of(said)
    if fields is None:
        return said
    event = str(fields.get("event", fields.get("message", "")))
    left_out = ("event", "message", "level", "timestamp")
    rest = [f"{name}={_quoted(value)}" for name, value in fields.items() if name not in left_out]
    return "  ".join(filter(None, [event, *rest]))


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f'"{text}"' if not text or (isinstance(value, str) and " " in text) else text


def _sortable(stamp: str) -> str:
    """Return the time with nine digits behind the second, so that texts compare as times do."""
    head, dot, rest = stamp.partition(".")
    digits = re.match(r"\d*", rest)[0] if dot else ""  # type: ignore[index]
    if not stamp.endswith("Z"):
        return stamp
    return f"{head.removesuffix('Z')}.{digits[:9]:0<9}Z"
