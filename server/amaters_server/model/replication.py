"""The values between the replicated log and the state machine."""

import enum
from dataclasses import dataclass

from amaters_server.model.cluster import ConfState
from amaters_server.model.queries import Answer

ProposalNumber = tuple[int, int]
"""Incarnation and sequence of a proposal: the order in which one member's proposals apply."""


class EntryKind(enum.Enum):
    """The content of a committed entry."""

    NORMAL = 0
    """A serialized `command.Entry`, or nothing: a new leader's first entry is empty."""
    CONF_CHANGE = 2
    """A change of membership; its context is a serialized `command.MemberRecord`."""


@dataclass(frozen=True, slots=True)
class Committed:
    """One committed entry, ready to be applied; entries come in order and exactly once."""

    index: int
    term: int
    kind: EntryKind
    data: bytes
    context: bytes = b""
    conf_state: ConfState | None = None
    """The configuration after this entry; set for every CONF_CHANGE."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of applying one entry, for the node that proposed it."""

    origin: int
    incarnation: int
    sequence: int
    results: list[Answer]
    """One per command, in order."""
    entry: bytes
    """The applied entry, as stored in the log; the origin it names may be forged."""
    skipped: bool = False
    """True: an equal or later proposal of that origin was applied before, so this one was not."""
