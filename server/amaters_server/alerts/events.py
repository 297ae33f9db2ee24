"""The published alert events, their severities, and an alert as it is fired. Pure values."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TypeAlias


class Severity(enum.Enum):
    """How soon a person must look; the published words."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class NodeFailed:
    """A started member has been silent for too long, and did not announce it."""

    node: int


@dataclass(frozen=True, slots=True)
class NodeRecovered:
    """A member that had failed answers again."""

    node: int


@dataclass(frozen=True, slots=True)
class LeaderChanged:
    """Another member leads than the one last known to."""

    old_leader: int
    new_leader: int


@dataclass(frozen=True, slots=True)
class QuorumLost:
    """A member knows no leader, and too few voters answer it to elect one."""

    cluster_size: int
    reachable: int
    """Voters that sent a message lately, this member included."""


@dataclass(frozen=True, slots=True)
class SlowReplication:
    """A member that answers stays behind."""

    follower: int
    lag_entries: int


@dataclass(frozen=True, slots=True)
class IncompatibleMember:
    """A member and the one that reports it refuse each other for their versions; ours."""

    node: int
    major: int
    """Of the member's version, as it sent it."""
    minor: int
    patch: int


@dataclass(frozen=True, slots=True)
class StorageLow:
    """A node's disk has less room than has to stay free: it takes no more data; ours."""

    node: int
    free_mb: int


@dataclass(frozen=True, slots=True)
class StorageFull:
    """A write to a node's disk found no room: it takes no writes at all; ours."""

    node: int


AlertEvent: TypeAlias = (
    NodeFailed
    | NodeRecovered
    | LeaderChanged
    | QuorumLost
    | SlowReplication
    | IncompatibleMember
    | StorageLow
    | StorageFull
)


@dataclass(frozen=True, slots=True)
class FiredAlert:
    """One alert as every sink reports it."""

    event: str
    """The event's published name, such as `NodeFailed`."""
    rule: str
    severity: Severity
    key: str
    """What it is about: within the window, one rule fires once for one key."""
    facts: Mapping[str, int]
    message: str
    advice: str
    runbook: str
    node_id: int
    """The member that fired it: another one may see things differently."""
    node_name: str
    at_unix_ms: int


def facts_of(event: AlertEvent) -> dict[str, int]:
    """Return the event's fields by their published names."""
    return {one.name: getattr(event, one.name) for one in fields(event)}
