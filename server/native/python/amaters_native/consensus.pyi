"""One Raft group member (raft-rs), driven from outside: bytes and integers in and out.

Nothing here reads a clock, touches a disk or a network, or starts a thread. The caller
calls `tick()` at a steady pace, hands received messages to `step()`, and after every such
call asks `has_ready()`. A `Ready` is work to do, in this order:

1. send `messages` (at once, in parallel with persisting);
2. when `snapshot` is set: install it (the state machine is now at its index; everything in
   the log before it is void);
3. persist `entries` (an entry replaces whatever was stored at its index and everything
   after it) and `hard_state`, with fsync when `must_sync`;
4. when that is durable: send `persisted_messages`, call `on_persist_ready(number)`;
5. apply `committed` (in order; it may run in parallel with 3 and 4: an entry is only handed
   out here once it is committed by a quorum *and* durable on this node), then call
   `advance_apply_to(index)`;
6. answer the reads in `read_states` once `index` is applied.

`ready()` takes the work out at once: several may be in flight, and `has_ready()` can be true
again straight away. Readies must become durable in the order of their numbers;
`on_persist_ready(n)` covers all numbers up to n. A group of one commits in the same way:
its entries appear in `committed` of a later Ready, after `on_persist_ready`.

Methods are not reentrant and the object belongs to one thread at a time. Input that could
break an invariant is refused with `ConsensusError` before it reaches raft; if raft itself
finds a contradiction the node raises `ConsensusError`, and from then on every method does:
the caller must stop the node and restart from what is on disk.
"""

from typing import Final, Literal, Self, TypeAlias, final

__all__ = [
    "ENTRY_CONF_CHANGE",
    "ENTRY_NORMAL",
    "ChangeKind",
    "ConfState",
    "ConsensusError",
    "Entry",
    "FarTerm",
    "HardState",
    "Message",
    "MessageKind",
    "Progress",
    "ProgressState",
    "ProposalDropped",
    "RaftNode",
    "Ready",
    "Role",
    "Snapshot",
    "Status",
    "StorageGap",
    "Transition",
    "conf_changes",
    "entry_fault",
    "snapshot_offer",
]

ENTRY_NORMAL: Final = 0
"""The type of an ordinary entry. A new leader's first one has no data."""
ENTRY_CONF_CHANGE: Final = 2
"""The type of an entry whose data is for `apply_conf_change`."""

ConfState: TypeAlias = tuple[list[int], list[int], list[int], list[int], bool]
"""(voters, learners, voters_outgoing, learners_next, auto_leave); ids are ascending."""
Entry: TypeAlias = tuple[int, int, int, bytes, bytes]
"""(index, term, type, data, context)."""
HardState: TypeAlias = tuple[int, int, int]
"""(term, vote, commit)."""
Snapshot: TypeAlias = tuple[int, int, ConfState, bytes]
"""(index, term, conf_state, data)."""
MessageKind: TypeAlias = Literal[
    "append",
    "append_response",
    "commit_notice",
    "heartbeat",
    "heartbeat_response",
    "pre_vote_rejection",
    "pre_vote_request",
    "pre_vote_response",
    "proposal",
    "read_index",
    "read_index_response",
    "snapshot",
    "timeout_now",
    "transfer_leader",
    "vote_request",
    "vote_response",
]
"""Raft's message types, with two finer ones: a "commit_notice" is an append without entries, a
"pre_vote_rejection" a response that refuses the vote."""
Message: TypeAlias = tuple[int, MessageKind, bytes]
"""(to, kind, message)."""

Role: TypeAlias = Literal["follower", "candidate", "leader", "pre-candidate"]
ProgressState: TypeAlias = Literal["probe", "replicate", "snapshot"]
ChangeKind: TypeAlias = Literal["add_voter", "add_learner", "remove"]
Transition: TypeAlias = Literal["auto", "implicit", "explicit"]

class ConsensusError(Exception):
    """The consensus engine refuses: the message says what happened and what to do."""

class ProposalDropped(ConsensusError):
    """The proposal did not enter the log and never will; proposing again is safe."""

    reason: Literal[
        "no_leader", "transferring", "too_much_uncommitted", "removed", "pending_change"
    ]

class StorageGap(ConsensusError):
    """The log, snapshot or hard state given do not fit together, or an index is outside the log."""

class FarTerm(ConsensusError):
    """The message's term lies so far ahead that its sender has to confirm it (`confirm_term`)."""

def snapshot_offer(message: bytes) -> Snapshot:
    """Read the snapshot out of a message of kind "snapshot"; `ConsensusError` when it has none."""

def entry_fault(kind: int, data: bytes, context: bytes) -> str | None:
    """Return why no member could apply an entry of the log; None when every member can."""

def conf_changes(data: bytes) -> list[tuple[ChangeKind, int]]:
    """Return the changes inside a conf change entry's data; empty when it leaves a joint state."""

@final
class Ready:
    """Work the node hands out; see the module's text for the order. All lists may be empty."""

    @property
    def number(self) -> int:
        """The number for `on_persist_ready`; ascending from 1."""
    @property
    def messages(self) -> list[Message]:
        """What may be sent before anything is durable (from a leader)."""
    @property
    def entries(self) -> list[Entry]:
        """Entries to persist; consecutive, they replace the stored ones from the first on."""
    @property
    def hard_state(self) -> HardState | None:
        """The hard state to persist, or None when unchanged."""
    @property
    def must_sync(self) -> bool:
        """Whether fsync is needed before `on_persist_ready` (only the commit moved if not)."""
    @property
    def persisted_messages(self) -> list[Message]:
        """What to send only once this Ready is durable."""
    @property
    def committed(self) -> list[Entry]:
        """Entries to apply, in order, each exactly once since the `applied` given at start."""
    @property
    def read_states(self) -> list[tuple[int, bytes]]:
        """(index, context): the read may be answered when `index` is applied."""
    @property
    def snapshot(self) -> Snapshot | None:
        """A snapshot to install before the entries, or None."""
    @property
    def soft_state(self) -> tuple[int, Role] | None:
        """(leader id or 0, own role) when either changed."""

@final
class Progress:
    """What the leader knows about one member."""

    @property
    def id(self) -> int: ...
    @property
    def matched(self) -> int:
        """The highest index known to be durable there."""
    @property
    def next(self) -> int: ...
    @property
    def state(self) -> ProgressState: ...
    @property
    def recent_active(self) -> bool:
        """Whether a message of it arrived during the current quorum check."""
    @property
    def paused(self) -> bool: ...
    @property
    def pending_snapshot(self) -> int:
        """The index of the snapshot on its way there, or 0."""
    @property
    def is_learner(self) -> bool: ...

@final
class Status:
    """The state of the node at one moment."""

    @property
    def id(self) -> int: ...
    @property
    def term(self) -> int: ...
    @property
    def vote(self) -> int: ...
    @property
    def commit(self) -> int: ...
    @property
    def applied(self) -> int: ...
    @property
    def leader(self) -> int:
        """The leader's id, or 0 when none is known."""
    @property
    def role(self) -> Role: ...
    @property
    def lead_transferee(self) -> int:
        """Who leadership is being handed to, or 0."""
    @property
    def progress(self) -> list[Progress]:
        """One per member when this node leads, in order of id; otherwise empty."""

@final
class RaftNode:
    """One member of a Raft group."""

    def __new__(
        cls,
        *,
        id: int,
        election_tick: int,
        heartbeat_tick: int,
        min_election_tick: int = 0,
        max_election_tick: int = 0,
        pre_vote: bool = True,
        check_quorum: bool = True,
        priority: int = 0,
        max_size_per_message: int = ...,
        max_inflight_messages: int = 256,
        max_uncommitted_size: int = ...,
        max_committed_size: int = ...,
        applied: int = 0,
        hard_state: HardState = ...,
        conf_state: ConfState = ...,
        snapshot_index: int = 0,
        snapshot_term: int = 0,
        entries: list[Entry] = ...,
        check_entries: bool = True,
        max_terms_ahead: int = ...,
    ) -> Self:
        """Start a node from what the caller read from its disk.

        `entries` is the log after (`snapshot_index`, `snapshot_term`), without gaps; that
        pair is the last compacted entry. `applied` lies between `snapshot_index` and the
        commit; 0 stands for `snapshot_index`.

        A group's founders all start as if entry 1 of term 1 had been compacted: equal
        `conf_state`, `hard_state=(1, 0, 1)`, `snapshot_index=1`, `snapshot_term=1`, no entries.
        Then a member that joins later, which starts with nothing at all, always begins with a
        snapshot, which contains the configuration; from a log that began at entry 1 it would
        apply changes to a configuration that it does not know.

        The election timeout is drawn from `min_election_tick..max_election_tick` (0 means
        `election_tick` and twice that); `max = min + 1` pins it. Proposals are refused while
        more than `max_uncommitted_size` bytes wait for a quorum; a Ready's `committed` holds
        at most about `max_committed_size` bytes. With `check_entries` an entry that the database
        could not apply is refused, be it proposed or appended by another member. A message whose
        term lies more than `max_terms_ahead` (2^20) ahead is refused until that is confirmed.

        `ValueError` for settings raft refuses, `StorageGap` for a state that contradicts itself.
        """

    def tick(self) -> None:
        """Let one tick of time pass."""

    def step(self, message: bytes, hold_snapshot: bool = False) -> tuple[MessageKind, int]:
        """Process one message from another member; return its kind and sender.

        With `hold_snapshot`, a message of kind "snapshot" is checked, but changes nothing: step it
        again without, once the state that it offers is here.

        `ConsensusError` when the message is malformed, not for this node, of a kind no member
        sends, contradicts the log (a commit beyond the end, entries with a gap), has a term, index
        or incarnation beyond reason, or carries an entry that cannot be applied. Then nothing has
        changed, and the message can be dropped. Stale messages, and messages of unknown members,
        are no error. `FarTerm` when only a member itself can confirm the term: ask the sender at
        its own address, and pass the answer to `confirm_term`.
        """

    def confirm_term(self, term: int) -> None:
        """Report the term in which a member was found: messages of about that term pass now.

        A term that leaves too few for later elections is ignored.
        """

    def note_incarnation(self, member: int, incarnation: int) -> None:
        """Report which incarnation the newest applied proposal of that member had.

        `step` refuses a forwarded proposal that lies 2**20 incarnations above it (above 0 for a
        member never noted), and one whose origin is no member.
        """

    def propose(self, context: bytes, data: bytes) -> None:
        """Append an entry to the log (a follower forwards it to the leader).

        `ProposalDropped` when that is impossible now. Without that error the entry may still
        be lost with its leader: only `committed` proves it.
        """

    def propose_conf_change(
        self,
        context: bytes,
        changes: list[tuple[ChangeKind, int]],
        transition: Transition = "auto",
    ) -> None:
        """Propose a change of membership; the committed entry carries `context`.

        "auto" changes one member in one step and several through a joint state that is left
        by itself; "implicit" always goes through a joint state; "explicit" stays there until
        an empty list of changes is proposed. `ProposalDropped` as with `propose`, and on the
        leader while another change is not applied yet ("pending_change"; also until a new
        leader has applied what it inherited). `ConsensusError` when the leader sees that the
        change does not fit (the last voter removed, a second change in a joint state). A
        change that a follower forwards and the leader cannot take becomes an empty normal
        entry: propose on the leader.
        """

    def apply_conf_change(self, data: bytes) -> ConfState:
        """Put a committed conf change entry into force and return the configuration to store.

        Call it for every committed conf change entry, at its place in the order. To refuse a
        change, call `conf_state()` instead and go on: not calling is how raft ignores it.
        `ConsensusError` when the change does not fit the configuration: nothing has changed,
        every member sees the same, so treat it as refused. A leader that is removed or demoted
        by the change steps down at once.
        """

    def conf_state(self) -> ConfState:
        """Return the configuration in force."""

    def read_index(self, context: bytes) -> bool:
        """Ask for a linearizable read barrier; the answer is a `read_states` item.

        False when raft would drop the request: no leader is known, or this leader has
        not committed an entry of its own term yet. True is no guarantee: the request or
        the answer can be lost with the leader, so repeat it after a while. The context must be
        unique and not empty.
        """

    def transfer_leader(self, to: int) -> None:
        """Hand leadership to a voter; aborted by raft after one election timeout.

        A follower forwards the request to the leader. `ConsensusError` when `to` is no voter
        or no leader is known.
        """

    def campaign(self) -> None:
        """Start an election now.

        Nothing happens on a leader, on a node that is no voter, while the log is not entirely
        durable, or while a snapshot is being installed.
        """

    def set_priority(self, priority: int) -> None:
        """Set the priority: a voter refuses candidates of lower priority with an equal log."""

    def report_unreachable(self, id: int) -> None:
        """Report that a message to the member could not be sent, so that the leader probes it."""

    def report_snapshot(self, id: int, ok: bool) -> None:
        """Report how the snapshot on its way to the member ended, so that replication goes on."""

    def has_ready(self) -> bool:
        """Return whether `ready()` has something to hand out."""

    def ready(self) -> Ready:
        """Take all outstanding work; an empty Ready when there is none."""

    def on_persist_ready(self, number: int) -> None:
        """Report that everything up to the Ready of this number is durable."""

    def advance_apply_to(self, index: int) -> None:
        """Report that the state machine has applied everything up to the index.

        After a snapshot: its index, once `on_persist_ready` was called. `StorageGap` when it lies
        before an earlier call's, or beyond what is handed out and durable.
        """

    def compact(self, index: int) -> None:
        """Forget the entries in memory up to and including an applied index; its term is kept.

        Nothing happens when they are gone already; `StorageGap` beyond the applied index.
        """

    def log_bytes(self) -> int:
        """Return the bytes of data and context that the log in memory holds."""

    def first_index(self) -> int:
        """Return the first index still in the log (one more than the last compacted)."""

    def last_index(self) -> int:
        """Return the last index of the log, durable or not."""

    def term_of(self, index: int) -> int:
        """Return the term of an entry, or of the last compacted one; `StorageGap` outside."""

    def entries_between(self, low: int, high: int, max_bytes: int | None = None) -> list[Entry]:
        """Return entries `[low, high)`, at least one and then no more than about `max_bytes`."""

    def set_snapshot(self, index: int, term: int, conf_state: ConfState, data: bytes) -> None:
        """Offer a snapshot for members that are too far behind.

        `data` travels in the message, so it should be a small description of where to fetch
        the image. `StorageGap` when the index is not applied yet.
        """

    def clear_snapshot(self) -> None:
        """Withdraw the offer, for instance because the image was deleted."""

    def take_snapshot_requests(self) -> list[int]:
        """Return the members that need a snapshot newer than the offer, and forget them.

        Raft asks again while they still need it.
        """

    def status(self) -> Status:
        """Return everything about the node; the properties below are cheaper."""

    @property
    def id(self) -> int: ...
    @property
    def leader(self) -> int:
        """The leader's id, or 0 when none is known."""
    @property
    def term(self) -> int: ...
    @property
    def role(self) -> Role: ...
    @property
    def commit(self) -> int: ...
    @property
    def applied(self) -> int: ...
    @property
    def is_leader(self) -> bool: ...
    @property
    def is_learner(self) -> bool:
        """Whether the configuration in force lists this node as a learner."""
    @property
    def promotable(self) -> bool:
        """Whether the configuration in force lets this node campaign."""
    @property
    def committed_in_term(self) -> bool:
        """Whether an entry of the current term is committed: only then can a leader serve reads."""
