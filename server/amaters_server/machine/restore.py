"""The steps of a restore, as commands that every member applies at the same place in the log.

A restore replaces everything: BEGIN clears the data and refuses clients, LOAD adds records, END
lets clients in again. An aborted restore leaves an empty database, never half of one.
"""

import enum
from dataclasses import dataclass, field

from amaters_server.model.errors import NotReadyError, SnapshotError
from amaters_server.model.queries import Put


class RestoreKind(enum.Enum):
    """What a step does; the numbers are those of the durable format."""

    BEGIN = 1
    LOAD = 2
    END = 3
    ABORT = 4


@dataclass(frozen=True, slots=True)
class RestoreStep:
    """One step of the restore with that id."""

    kind: RestoreKind
    restore_id: int
    records: tuple[Put, ...] = ()
    """Of a LOAD: what to add."""
    record_count: int = 0
    """Of an END: how many records all LOADs together must have added."""


@dataclass(frozen=True, slots=True)
class RestoreProgress:
    """A restore in progress, and how many records it has loaded."""

    restore_id: int
    loaded: int = 0


@dataclass(frozen=True, slots=True)
class StepEffect:
    """The effect of one step: the restore afterwards, and how the data changes."""

    restoring: RestoreProgress | None
    clear: bool = False
    records: tuple[Put, ...] = field(default=())


def advance(restoring: RestoreProgress | None, step: RestoreStep) -> StepEffect:
    """Return the effect of the step; raises SnapshotError when it is out of place.

    BEGIN is always accepted, so that a restore whose client died can be started over.
    """
    if step.kind is RestoreKind.BEGIN:
        return StepEffect(RestoreProgress(step.restore_id), clear=True)
    if restoring is None:
        raise SnapshotError(f"restore {step.restore_id} is not in progress: begin it again")
    if restoring.restore_id != step.restore_id:
        raise SnapshotError(
            f"restore {restoring.restore_id} has taken the place of {step.restore_id}: let it "
            "finish, or abort it"
        )
    match step.kind:
        case RestoreKind.LOAD:
            loaded = restoring.loaded + len(step.records)
            return StepEffect(RestoreProgress(step.restore_id, loaded), records=step.records)
        case RestoreKind.END:
            _require_complete(restoring, step)
            return StepEffect(None)
        case RestoreKind.ABORT:
            return StepEffect(None, clear=True)


def refusal(restoring: RestoreProgress) -> NotReadyError:
    """Return the error for clients during a restore."""
    return NotReadyError(
        f"its data is being restored (restore {restoring.restore_id}, {restoring.loaded} records "
        "so far); retry when that is done"
    )


def _require_complete(restoring: RestoreProgress, step: RestoreStep) -> None:
    if restoring.loaded != step.record_count:
        raise SnapshotError(
            f"restore {step.restore_id} loaded {restoring.loaded} records where the backup has "
            f"{step.record_count}: abort it and begin again"
        )
