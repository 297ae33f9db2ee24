"""What happened to a cluster: events, and what the status remembers of it. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from amaters_kubectl.cluster.view import ClusterView
from amaters_kubectl.names import KIND
from amaters_kubectl.reading import Fields, moment, number, part, text


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the history."""

    at: datetime
    kind: str
    """Normal or Warning; Status for what the status says."""
    about: str
    reason: str
    message: str
    count: int = 1
    first: datetime | None = None


_PERIOD: Final = re.compile(
    "(?:(?P<days>[0-9]{1,6})d)?(?:(?P<hours>[0-9]{1,6})h)?"
    "(?:(?P<minutes>[0-9]{1,6})m)?(?:(?P<seconds>[0-9]{1,6})s)?"
)
_NUMBERS: Final = re.compile(r"[0-9][0-9a-f.:TZ-]*")
_NAMED: Final = 3
"""So many objects are named where several have the same."""
_OBJECTS: Final = ("Pod", "StatefulSet", "PersistentVolumeClaim", "PodDisruptionBudget")


def history(
    cluster: ClusterView, events: Iterable[Fields], *, since: datetime | None = None
) -> list[Happening]:
    """Return what is known, the oldest first."""
    found = [*_of_events(cluster, events), *_of_status(cluster)]
    return sorted(
        (one for one in found if since is None or one.at >= since), key=lambda one: one.at
    )


def folded(cluster: ClusterView, happenings: Iterable[Happening]) -> list[Happening]:
    """Return one of all that say the same, of whatever pods and numbers; the newest first."""
    alike: dict[tuple[str, str, str], list[Happening]] = {}
    for one in happenings:
        alike.setdefault((one.kind, one.reason, _generic(cluster, one.message)), []).append(one)
    found = [_as_one(repeats) for repeats in alike.values()]
    return sorted(found, key=lambda one: one.at, reverse=True)


def _generic(cluster: ClusterView, message: str) -> str:
    """Return the message without what tells one pod or one moment from another."""
    name = rf"\b{re.escape(cluster.name)}-[0-9]+\b"
    return _NUMBERS.sub("#", re.sub(name, "#", message))


def _as_one(repeats: Sequence[Happening]) -> Happening:
    last = max(repeats, key=lambda one: one.at)
    abouts = sorted({one.about for one in repeats if one.about})
    about = ", ".join(abouts[:_NAMED]) + (" …" if len(abouts) > _NAMED else "")
    first = min(one.first or one.at for one in repeats)
    return replace(last, about=about, count=sum(one.count for one in repeats), first=first)


def period(said: str) -> timedelta | None:
    """Return the length of time that 90m, 1h30m or 3d names; None when it names none."""
    found = _PERIOD.fullmatch(said)
    if not said or found is None:
        return None
    numbers = {unit: int(number or 0) for unit, number in found.groupdict().items()}
    return timedelta(**numbers)


def _of_events(cluster: ClusterView, events: Iterable[Fields]) -> Iterator[Happening]:
    for one in events:
        about = part(one, "involvedObject") or part(one, "regarding")
        kind, name = text(about, "kind"), text(about, "name")
        if not _belongs(cluster, kind, name):
            continue
        series = part(one, "series")
        times = (
            moment(series, "lastObservedTime"),
            moment(one, "lastTimestamp") or moment(one, "deprecatedLastTimestamp"),
            moment(one, "eventTime"),
            moment(part(one, "metadata"), "creationTimestamp"),
        )
        last = next((time for time in times if time is not None), None)
        if last is None:
            continue
        counted = number(series, "count") or number(one, "count") or number(one, "deprecatedCount")
        yield Happening(
            at=last,
            kind=text(one, "type") or "Normal",
            about="" if kind == KIND else name,
            reason=text(one, "reason"),
            message=text(one, "message") or text(one, "note"),
            count=max(counted or 1, 1),
            first=moment(one, "firstTimestamp") or moment(one, "eventTime"),
        )


def _belongs(cluster: ClusterView, kind: str, name: str) -> bool:
    if kind == KIND:
        return name == cluster.name
    pod = rf"(data-)?{re.escape(cluster.name)}(-[0-9]+)?"
    return kind in _OBJECTS and re.fullmatch(pod, name) is not None


def _of_status(cluster: ClusterView) -> Iterator[Happening]:
    for one in cluster.conditions.values():
        if one.since is not None:
            said = f"{one.type}={one.status}"
            message = f"{one.reason}: {one.message}" if one.reason else one.message
            yield Happening(one.since, "Status", "", said, message)
    backup = cluster.backup
    if backup.completed is not None:
        yield Happening(backup.completed, "Status", "", "BackupCompleted", backup.uri)
    restored = part(cluster.status, "bootstrap")
    started = moment(restored, "restoreStarted")
    if started is not None:
        yield Happening(started, "Status", "", "RestoreStarted", text(restored, "restoredFrom"))
    for kept in cluster.quarantine:
        if kept.since is not None:
            yield Happening(kept.since, "Status", "", "Quarantined", kept.claim)


def facts(happenings: Sequence[Happening]) -> list[dict[str, object]]:
    """Return the lines for programs."""
    return [
        {
            "at": one.at.isoformat().replace("+00:00", "Z"),
            "kind": one.kind,
            "about": one.about,
            "reason": one.reason,
            "message": one.message,
            "count": one.count,
        }
        for one in happenings
    ]
