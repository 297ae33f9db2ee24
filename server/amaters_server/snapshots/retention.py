"""Which snapshots to delete. Pure: knows ids and ages, never storage."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaters_server.model.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Age:
    """A snapshot's id and when it was taken."""

    snapshot_id: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Retention:
    """How many snapshots stay, and for how long."""

    newest: int
    """So many stay, whatever their age."""
    for_ms: int = 0
    """Younger ones stay too."""

    def __post_init__(self) -> None:
        """Refuse to keep nothing: the last snapshot is never deleted by itself."""
        if self.newest < 1 or self.for_ms < 0:
            raise ConfigurationError(
                f"retention: keep at least 1 snapshot and for no negative time, not {self}"
            )


def expired(snapshots: Sequence[Age], retention: Retention, *, now_ms: int) -> list[int]:
    """Return the ids to delete, oldest first."""
    newest_first = sorted(
        snapshots, key=lambda one: (one.timestamp_ms, one.snapshot_id), reverse=True
    )
    return [
        one.snapshot_id
        for one in reversed(newest_first[retention.newest :])
        if one.timestamp_ms <= now_ms - retention.for_ms
    ]
