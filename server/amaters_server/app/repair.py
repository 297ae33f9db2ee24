"""Repairs, while the server is down, a log that holds what no member can apply.

Versions before 0.4 accepted such entries, and terms beyond reason, into their logs. Every member that
has them stops at the same place. Only named entries are changed: an entry that is
dropped keeps its place in the log and does nothing, so every member must drop the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from amaters_server.app.files.engine import examined_engine, open_engine
from amaters_server.config.settings import Settings
from amaters_server.machine.codec import decode_entry
from amaters_server.machine.machine import Machine
from amaters_server.machine.membership import decode_record
from amaters_server.model.errors import InvalidRequestError, StorageCorruptedError
from amaters_server.raft.log import HIGHEST_TERM, Log, Stored
from amaters_server.raft.raft_node import ENTRY_CONF_CHANGE, ENTRY_NORMAL, Entry
from amaters_server.storage.engine import Changes

TERM_MARGIN = 1 << 20
"""A reset term lies so far after the log's last one that no earlier vote can have been for it."""


@dataclass(frozen=True, slots=True)
class Examination:
    """The faults of the log on one disk."""

    node_id: int
    last_index: int
    entries: tuple[tuple[int, str], ...]
    """Index of each entry that no member can apply, and why."""
    term: int
    reset_term: int
    """What the term has to become; equal to `term` when that is within reason."""

    @property
    def sound(self) -> bool:
        """Whether there is nothing to repair."""
        return not self.entries and self.term == self.reset_term


def examine(log: Log) -> Examination:
    """Read the whole log; StorageCorruptedError when it has a gap."""
    identity = log.identity()
    if identity is None:
        raise InvalidRequestError("this data folder belongs to no cluster: nothing to repair")
    stored = log.load()
    if _last_term(stored) > HIGHEST_TERM - TERM_MARGIN:
        raise InvalidRequestError(
            f"the log holds entries of term {_last_term(stored)}, after which there are too few: "
            "restore the newest backup into a new cluster"
        )
    faults = tuple((one[0], fault) for one in stored.entries if (fault := _fault(one)))
    term = stored.hard_state[0]
    reset = _last_term(stored) + TERM_MARGIN if term > HIGHEST_TERM else term
    return Examination(identity.node_id, stored.last_index, faults, term, reset)


def mend(log: Log, drop: Sequence[int], *, reset_term: bool) -> Changes:
    """Return the requested changes; InvalidRequestError for what is sound."""
    found, stored, changes = examine(log), log.load(), Changes()
    faulty = {index for index, _ in found.entries}
    terms = {entry[0]: entry[1] for entry in stored.entries}
    for index in drop:
        if index not in faulty:
            raise InvalidRequestError(f"entry {index} is sound or not in the log: it stays")
        log.replace(changes, (index, terms[index], ENTRY_NORMAL, b"", b""))
    if reset_term:
        if found.term == found.reset_term:
            raise InvalidRequestError(f"term {found.term} is within reason: it stays")
        log.put_hard_state(changes, (found.reset_term, 0, stored.hard_state[2]))
    return changes


def examine_folder(settings: Settings) -> Examination:
    """Examine the data folder of a server that is down."""
    engine = open_engine(settings)
    try:
        return examine(Log(engine))
    finally:
        engine.close()


def mend_folder(settings: Settings, drop: Sequence[int], *, reset_term: bool) -> None:
    """Repair the data folder of a server that is down, durably."""
    engine = open_engine(settings)
    try:
        engine.write(mend(Log(engine), drop, reset_term=reset_term), sync=True)
    finally:
        engine.close()


def accept_loss(settings: Settings) -> None:
    """Let a single node continue with less than it acknowledged; InvalidRequestError for others."""
    with examined_engine(settings) as engine:
        membership = Machine(engine).membership
    if membership is not None and len(membership.members) > 1:
        raise InvalidRequestError(
            f"this disk belongs to one of {len(membership.members)} members: it would vote for "
            "what it has forgotten. Remove the member and add it again with an empty data folder"
        )
    open_engine(settings, accept_loss=True).close()


def _fault(entry: Entry) -> str | None:
    """Return why no member can apply the entry; one that a member may have applied stays."""
    index, _, kind, data, context = entry
    try:
        if kind == ENTRY_CONF_CHANGE:
            decode_record(context, index=index)
        elif data:
            decode_entry(data, index=index)
    except StorageCorruptedError as error:
        return str(error)
    return None


def _last_term(stored: Stored) -> int:
    return stored.entries[-1][1] if stored.entries else stored.compacted[1]
