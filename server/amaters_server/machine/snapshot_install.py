"""Installs the whole state of another member from a checkpoint of its engine.

What is that member's own stays behind: its identity, its vote and its log.
"""

from amaters_server.machine import state
from amaters_server.machine.state import SavedState
from amaters_server.model.cluster import ConfState
from amaters_server.model.errors import SnapshotError
from amaters_server.storage.engine import Amend, Changes, Engine, Space

_ABOVE_ALL_KEYS = b"\xff" * 64


def amend_for_install(own: Engine, *, index: int, term: int) -> Amend:
    """Return the changes that turn a checkpoint of another member into the state of this one.

    Raises SnapshotError, before anything is changed, when the checkpoint is not of that entry.
    """

    def amend(checkpoint: Engine) -> Changes:
        saved = _of_that_entry(checkpoint, index, term)
        changes = state.save_all(saved)
        changes.clear(Space.META, b"", _ABOVE_ALL_KEYS)
        changes.clear(Space.LOG, b"", _ABOVE_ALL_KEYS)
        for key, value in _own_rows(own):
            changes.put(Space.META, key, value)
        return changes

    return amend


def require(checkpoint: Engine, *, index: int, term: int, conf_state: ConfState) -> None:
    """Raise SnapshotError when the checkpoint is not what its offer announced.

    Raft takes its voters from the offer at once; a forged one would name any.
    """
    saved = _of_that_entry(checkpoint, index, term)
    present = saved.membership.conf_state if saved.membership is not None else ConfState()
    if _ascending(present) != _ascending(conf_state):
        raise SnapshotError(
            f"the snapshot of entry {index} has the configuration {present}, and {conf_state} was "
            "announced: the leader will offer another one"
        )


def position(checkpoint: Engine) -> SavedState:
    """Return the state in the checkpoint; SnapshotError when it belongs to no cluster."""
    saved = state.load(checkpoint)
    if saved.index == 0 or saved.membership is None:
        raise SnapshotError("this member holds no cluster's state yet: there is nothing to send")
    return saved


def _of_that_entry(checkpoint: Engine, index: int, term: int) -> SavedState:
    saved = state.load(checkpoint)
    if (saved.index, saved.term) != (index, term):
        raise SnapshotError(
            f"the snapshot is of entry {saved.index} of term {saved.term}, and entry {index} of "
            f"term {term} was announced: the leader will offer another one"
        )
    return saved


def _ascending(state: ConfState) -> tuple[object, ...]:
    groups = (state.voters, state.learners, state.voters_outgoing, state.learners_next)
    return (*(tuple(sorted(group)) for group in groups), state.auto_leave)


def _own_rows(engine: Engine) -> list[tuple[bytes, bytes]]:
    first, beyond = state.EVERYTHING
    view = engine.view()
    try:
        return [
            *view.scan(Space.META, b"", first),
            *view.scan(Space.META, beyond, _ABOVE_ALL_KEYS),
        ]
    finally:
        view.close()
