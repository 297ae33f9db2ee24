"""Taking over another member's whole state from a checkpoint of its engine.

Nothing that is that member's own comes along: who it is, what it voted, and its log.
"""

from amaters_server.machine import state
from amaters_server.machine.state import SavedState
from amaters_server.model.cluster import ConfState
from amaters_server.model.errors import SnapshotError
from amaters_server.storage.engine import Amend, Changes, Engine, Space

_ABOVE_ALL_KEYS = b"\xff" * 64


def adopting(own: Engine, *, index: int, term: int) -> Amend:
    """Return what makes a checkpoint of a member's engine the state of the one that `own` is of.

    Raises SnapshotError, before anything is changed, when the checkpoint is not of that entry.
    """

    def amend(checkpoint: Engine) -> Changes:
        kept = _of_that_entry(checkpoint, index, term)
        changes = state.save_all(kept)
        changes.clear(Space.META, b"", _ABOVE_ALL_KEYS)
        changes.clear(Space.LOG, b"", _ABOVE_ALL_KEYS)
        for key, value in _kept_to_itself(own):
            changes.put(Space.META, key, value)
        return changes

    return amend


def require(checkpoint: Engine, *, index: int, term: int, conf_state: ConfState) -> None:
    """Raise SnapshotError when the checkpoint is not what was announced of it.

    Raft follows the announcement at once; a forged one would give it voters that nobody chose.
    """
    kept = _of_that_entry(checkpoint, index, term)
    held = kept.membership.conf_state if kept.membership is not None else ConfState()
    if _ascending(held) != _ascending(conf_state):
        raise SnapshotError(
            f"the image of entry {index} has the configuration {held}, and {conf_state} was "
            "announced: the leader will offer another one"
        )


def position(checkpoint: Engine) -> SavedState:
    """Return what the checkpoint is of; SnapshotError when it holds no cluster's state."""
    kept = state.load(checkpoint)
    if kept.index == 0 or kept.membership is None:
        raise SnapshotError("this member holds no cluster's state yet: there is nothing to send")
    return kept


def _of_that_entry(checkpoint: Engine, index: int, term: int) -> SavedState:
    kept = state.load(checkpoint)
    if (kept.index, kept.term) != (index, term):
        raise SnapshotError(
            f"the image is of entry {kept.index} of term {kept.term}, and entry {index} of "
            f"term {term} was announced: the leader will offer another one"
        )
    return kept


def _ascending(state: ConfState) -> tuple[object, ...]:
    groups = (state.voters, state.learners, state.voters_outgoing, state.learners_next)
    return (*(tuple(sorted(group)) for group in groups), state.auto_leave)


def _kept_to_itself(engine: Engine) -> list[tuple[bytes, bytes]]:
    first, beyond = state.EVERYTHING
    view = engine.view()
    try:
        return [
            *view.scan(Space.META, b"", first),
            *view.scan(Space.META, beyond, _ABOVE_ALL_KEYS),
        ]
    finally:
        view.close()
