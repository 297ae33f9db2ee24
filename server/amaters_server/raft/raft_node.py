"""The only import of raft-rs: its types and errors, and how a node is opened."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaters_native import consensus
from amaters_native.consensus import ENTRY_CONF_CHANGE as ENTRY_CONF_CHANGE
from amaters_native.consensus import ENTRY_NORMAL as ENTRY_NORMAL
from amaters_native.consensus import ChangeKind as ChangeKind
from amaters_native.consensus import ConsensusError as ConsensusError
from amaters_native.consensus import Entry as Entry
from amaters_native.consensus import FarTerm as FarTerm
from amaters_native.consensus import HardState as HardState
from amaters_native.consensus import Message as Message
from amaters_native.consensus import MessageKind as MessageKind
from amaters_native.consensus import ProposalDropped as ProposalDropped
from amaters_native.consensus import RaftNode as RaftNode
from amaters_native.consensus import Ready as Ready
from amaters_native.consensus import StorageGap as StorageGap
from amaters_native.consensus import entry_fault as entry_fault
from amaters_native.consensus import snapshot_offer as snapshot_offer

from amaters_server.model.cluster import ConfState

_EMPTY = ConfState()


@dataclass(frozen=True, slots=True)
class RaftNodeSettings:
    """The settings of one raft node; a tick is as long as its caller decides."""

    id: int
    heartbeat_ticks: int
    election_ticks: tuple[int, int]
    """The shortest timeout, and one above the longest; (n, n + 1) pins it."""
    max_message_bytes: int = 1024 * 1024
    max_inflight_messages: int = 256
    max_uncommitted_bytes: int = 64 * 1024 * 1024
    max_committed_bytes: int = 16 * 1024 * 1024
    check_entries: bool = True
    """Whether entries that no member could apply are refused."""
    max_terms_ahead: int = 1 << 20
    """How far ahead a term may lie that its sender has not confirmed."""


@dataclass(frozen=True, slots=True)
class StartState:
    """What the disk of a member holds; all empty for a member that joins."""

    applied: int = 0
    hard_state: HardState = (0, 0, 0)
    conf_state: ConfState = _EMPTY
    compacted: tuple[int, int] = (0, 0)
    """Index and term of the last entry that is no longer in the log."""
    entries: Sequence[Entry] = ()


def open_raft_node(settings: RaftNodeSettings, start: StartState) -> RaftNode:
    """Start raft-rs from what the disk holds; StorageGap when that is inconsistent."""
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
        conf_state=to_native(start.conf_state),
        snapshot_index=start.compacted[0],
        snapshot_term=start.compacted[1],
        entries=list(start.entries),
        check_entries=settings.check_entries,
        max_terms_ahead=settings.max_terms_ahead,
    )


def to_native(state: ConfState) -> consensus.ConfState:
    """Return the conf state as raft-rs takes it."""
    return (
        list(state.voters),
        list(state.learners),
        list(state.voters_outgoing),
        list(state.learners_next),
        state.auto_leave,
    )


def from_native(state: consensus.ConfState) -> ConfState:
    """Return the conf state as the model's value."""
    voters, learners, outgoing, following, auto_leave = state
    return ConfState(tuple(voters), tuple(learners), tuple(outgoing), tuple(following), auto_leave)
