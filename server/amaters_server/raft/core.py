"""The one door to raft-rs: what the driver uses of it, as a protocol that tests can stand behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from amaters_native import consensus
from amaters_native.consensus import ConsensusError as ConsensusError
from amaters_native.consensus import FarTerm as FarTerm
from amaters_native.consensus import ProposalDropped as ProposalDropped
from amaters_native.consensus import StorageGap as StorageGap
from amaters_native.consensus import decode_message as decode_message
from amaters_native.consensus import entry_fault as entry_fault

from amaters_server.model.cluster import ConfState

Entry = tuple[int, int, int, bytes, bytes]
"""Index, term, type, data, context."""
HardState = tuple[int, int, int]
"""Term, vote, commit."""
CoreConfState = tuple[list[int], list[int], list[int], list[int], bool]
CoreSnapshot = tuple[int, int, CoreConfState, bytes]
"""Index, term, conf state, data."""

ChangeKind = Literal["add_voter", "add_learner", "remove"]

ENTRY_NORMAL = consensus.ENTRY_NORMAL
ENTRY_CONF_CHANGE = consensus.ENTRY_CONF_CHANGE

_NOBODY = ConfState()


class Ready(Protocol):
    """Work that raft hands out; the order is told in `amaters_native.consensus`."""

    @property
    def number(self) -> int:
        """Its number, for `on_persist_ready`."""
        ...

    @property
    def messages(self) -> list[tuple[int, bytes]]:
        """What may be sent at once."""
        ...

    @property
    def entries(self) -> list[Entry]:
        """What must be persisted; replaces what is stored from the first on."""
        ...

    @property
    def hard_state(self) -> HardState | None:
        """Term, vote and commit when they changed."""
        ...

    @property
    def must_sync(self) -> bool:
        """Whether persisting needs an fsync."""
        ...

    @property
    def persisted_messages(self) -> list[tuple[int, bytes]]:
        """What may be sent once this is durable."""
        ...

    @property
    def committed(self) -> list[Entry]:
        """What must be applied."""
        ...

    @property
    def read_states(self) -> list[tuple[int, bytes]]:
        """Barriers that were answered: index and context."""
        ...

    @property
    def snapshot(self) -> CoreSnapshot | None:
        """An image to install first."""
        ...

    @property
    def soft_state(self) -> tuple[int, str] | None:
        """Leader and role when they changed."""
        ...


class Consensus(Protocol):
    """The part of a raft-rs node that the driver uses; see its native stub for the promises."""

    def tick(self) -> None:
        """Let one tick pass."""
        ...

    def step(self, message: bytes, /) -> None:
        """Take in another member's message."""
        ...

    def confirm_term(self, term: int, /) -> None:
        """Say in which term a member was found by asking it."""
        ...

    def note_incarnation(self, member: int, incarnation: int, /) -> None:
        """Say which incarnation the newest applied proposal of that member had."""
        ...

    def propose(self, context: bytes, data: bytes, /) -> None:
        """Append an entry, or forward it to the leader."""
        ...

    def propose_conf_change(self, context: bytes, changes: list[tuple[ChangeKind, int]], /) -> None:
        """Propose one change of who belongs to the group."""
        ...

    def apply_conf_change(self, data: bytes, /) -> CoreConfState:
        """Put a committed change into force."""
        ...

    def read_index(self, context: bytes, /) -> bool:
        """Ask for a barrier; False when nobody would hear it."""
        ...

    def transfer_leader(self, to: int, /) -> None:
        """Hand leadership to a voter."""
        ...

    def campaign(self) -> None:
        """Start an election now."""
        ...

    def report_unreachable(self, id: int, /) -> None:  # noqa: A002 - raft-rs' own signature
        """Say that messages to the member were dropped."""
        ...

    def report_snapshot(self, id: int, ok: bool, /) -> None:  # noqa: A002, FBT001 - raft-rs' own signature
        """Say how the image on its way to the member ended."""
        ...

    def has_ready(self) -> bool:
        """Whether there is work to hand out."""
        ...

    def ready(self) -> Ready:
        """Take all outstanding work."""
        ...

    def on_persist_ready(self, number: int, /) -> None:
        """Say that everything up to this number is durable."""
        ...

    def advance_apply_to(self, index: int, /) -> None:
        """Say that everything up to this index is applied."""
        ...

    def compact(self, index: int, /) -> None:
        """Forget entries up to and including this index."""
        ...

    def log_bytes(self) -> int:
        """Return the bytes that the log in memory holds."""
        ...

    def first_index(self) -> int:
        """Return the first index still in the log."""
        ...

    def last_index(self) -> int:
        """Return the last index of the log."""
        ...

    def term_of(self, index: int, /) -> int:
        """Return the term of an entry."""
        ...

    def set_snapshot(
        self, index: int, term: int, conf_state: CoreConfState, data: bytes, /
    ) -> None:
        """Offer an image to members that are too far behind."""
        ...

    def clear_snapshot(self) -> None:
        """Withdraw the offer."""
        ...

    def take_snapshot_requests(self) -> list[int]:
        """Return who needs a newer image than the one on offer."""
        ...

    def status(self) -> consensus.Status:
        """Return everything about the node."""
        ...

    @property
    def leader(self) -> int:
        """Who leads, 0 when unknown."""
        ...

    @property
    def term(self) -> int:
        """The present term."""
        ...

    @property
    def role(self) -> str:
        """What this node is in it."""
        ...

    @property
    def commit(self) -> int:
        """How far the log is committed."""
        ...

    @property
    def applied(self) -> int:
        """How far the log is applied."""
        ...

    @property
    def is_leader(self) -> bool:
        """Whether this node leads."""
        ...

    @property
    def is_learner(self) -> bool:
        """Whether this node is a learner."""
        ...

    @property
    def promotable(self) -> bool:
        """Whether this node may campaign."""
        ...

    @property
    def committed_in_term(self) -> bool:
        """Whether an entry of the present term is committed."""
        ...


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """How one member behaves; the ticks are the caller's unit of time."""

    id: int
    heartbeat_ticks: int
    election_ticks: tuple[int, int]
    """Shortest, and the one that is never reached; neighbours pin the timeout."""
    max_message_bytes: int = 1024 * 1024
    max_inflight_messages: int = 256
    max_uncommitted_bytes: int = 64 * 1024 * 1024
    max_committed_bytes: int = 16 * 1024 * 1024
    check_entries: bool = True
    """Whether entries of others that no member could apply are refused."""
    max_terms_ahead: int = 1 << 20
    """How far ahead a term is believed that its sender has not confirmed."""


@dataclass(frozen=True, slots=True)
class StartState:
    """What a member finds on its own disk; all empty for one that joins."""

    applied: int = 0
    hard_state: HardState = (0, 0, 0)
    conf_state: ConfState = _NOBODY
    compacted: tuple[int, int] = (0, 0)
    """Index and term of the last entry that is no longer in the log."""
    entries: Sequence[Entry] = ()


def open_consensus(settings: CoreSettings, start: StartState) -> Consensus:
    """Start raft-rs from what the disk holds; StorageGap when that contradicts itself."""
    shortest, beyond_longest = settings.election_ticks
    return consensus.RaftNode(
        id=settings.id,
        election_tick=shortest,
        heartbeat_tick=settings.heartbeat_ticks,
        min_election_tick=shortest,
        max_election_tick=beyond_longest,
        max_size_per_message=settings.max_message_bytes,
        max_inflight_messages=settings.max_inflight_messages,
        max_uncommitted_size=settings.max_uncommitted_bytes,
        max_committed_size=settings.max_committed_bytes,
        applied=start.applied,
        hard_state=start.hard_state,
        conf_state=to_core(start.conf_state),
        snapshot_index=start.compacted[0],
        snapshot_term=start.compacted[1],
        entries=list(start.entries),
        check_entries=settings.check_entries,
        max_terms_ahead=settings.max_terms_ahead,
    )


def to_core(state: ConfState) -> CoreConfState:
    """Return the conf state as raft-rs takes it."""
    return (
        list(state.voters),
        list(state.learners),
        list(state.voters_outgoing),
        list(state.learners_next),
        state.auto_leave,
    )


def from_core(state: CoreConfState) -> ConfState:
    """Return the conf state as the model's value."""
    voters, learners, outgoing, following, auto_leave = state
    return ConfState(tuple(voters), tuple(learners), tuple(outgoing), tuple(following), auto_leave)
