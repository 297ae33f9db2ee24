"""One member of the raft group: driver, proposals and reads together. No I/O, no clock.

Its shell passes in what happened, calls `advance` and carries out the returned `Outbox`. The shell
of the server is asyncio (`node`), that of the simulation a virtual world (`testing`).
"""

from collections.abc import Sequence
from math import inf

from amaters_server.model.cluster import ConfState, Membership
from amaters_server.model.errors import (
    DatabaseError,
    MembershipError,
    NoLeaderError,
    NotLeaderError,
    OutcomeUnknownError,
)
from amaters_server.model.queries import Answer, Answers, Delivery, Read
from amaters_server.raft import membership as rules
from amaters_server.raft.commit_notices import CommitNotices
from amaters_server.raft.driver import Driver
from amaters_server.raft.incarnations import Incarnations
from amaters_server.raft.membership import Change, Following, LeaderView
from amaters_server.raft.outbox import Outbox, SnapshotOffer
from amaters_server.raft.ports import Applier
from amaters_server.raft.proposal import Encode, Origin, WaitingCommand
from amaters_server.raft.proposals import Proposals, Timeouts
from amaters_server.raft.raft_node import (
    ConsensusError,
    Message,
    ProposalDropped,
    from_native,
    snapshot_offer,
    to_native,
)
from amaters_server.raft.reads import Reads
from amaters_server.raft.status import RaftStatus, ReplicaCounters
from amaters_server.raft.version_preference import VersionPreference
from amaters_server.storage.engine import Changes
from amaters_server.telemetry.tracing.proposals import ProposalTraces


class Replica:
    """One member of the group: calls and messages in, an `Outbox` out."""

    def __init__(
        self,
        driver: Driver,
        applier: Applier,
        origin: Origin,
        timeouts: Timeouts,
        encode: Encode,
        version_preference: VersionPreference,
    ) -> None:
        self.driver = driver
        self.origin = origin
        self.counters = ReplicaCounters()
        self.refusal: ConsensusError | None = None
        """Why the last refused message was refused."""
        self.proposals = Proposals(origin, timeouts)
        self.reads = Reads(
            origin,
            # 50 ms by default: a new leader commits its first entry within a round trip and a sync.
            repeat_soon=timeouts.for_an_outcome / 16,
            repeat_after=timeouts.for_an_outcome,
            give_up_after=timeouts.for_a_leader,
        )
        self.version_preference = version_preference
        self.traces: ProposalTraces | None = None
        self._raft_node = driver.raft_node
        self._applier = applier
        self._timeouts = timeouts
        self._encode = encode
        self._leader = 0
        self._contacts: dict[int, float] = {}
        self._commit_notices = CommitNotices()
        self._leaderless_since: float | None = None
        self.fenced = False
        """It lets every other voter ask for votes first."""
        self._dropped = False
        """Whether raft dropped a proposal since the last tick."""
        self._out = Outbox()
        """What the next `advance` returns."""
        self._incarnations = Incarnations(driver.raft_node.note_incarnation, driver.renew)
        self._note_proposals()

    # --- inputs --------------------------------------------------------

    def write(self, writes: Sequence[WaitingCommand], answers: Answers, now: float) -> None:
        """Accept writes; the next `advance` proposes them."""
        error = self._incarnations.exhausted or self._no_leader(now)
        if error is not None:
            self._refuse([write.ticket for write in writes], answers, error)
        else:
            self.proposals.submit(writes, answers, now)

    def read(self, reads: Sequence[Read], answers: Answers, now: float) -> None:
        """Accept linearizable reads; the next `advance` asks for their barrier."""
        error = self._no_leader(now)
        if error is not None:
            self._refuse([read.ticket for read in reads], answers, error)
        else:
            self.reads.submit(reads, answers, now)

    def tick(self, now: float) -> None:
        """Let one tick pass; what is overdue is repeated or refused."""
        self.driver.tick()
        self._dropped = False
        if self._leader == 0 and self._leaderless_since is None:
            self._leaderless_since = now
        self.reads.repeat(now)
        self.proposals.barrier(self._propose, now)
        no_leader = None if self._leader else NoLeaderError(node=self.origin.node_id)
        self._out.deliveries += self.proposals.expire(now, no_leader)
        self._out.deliveries += self.reads.expire(now, no_leader)

    def note_contact(self, member: int, now: float) -> None:
        """Record that messages of that member arrived."""
        self._contacts[member] = now

    def connected(self, member: int) -> None:
        """Handle a new connection to that member: what a leader was sent before may be lost."""
        if member == self._leader:
            self._suspect_loss()

    def last_contact(self, member: int) -> float | None:
        """Return when messages of that member last arrived; None: never."""
        return self._contacts.get(member)

    def step(self, message: bytes, now: float, *, fetched: bool = False) -> bool:
        """Process a message of another member; False when it was refused and dropped.

        A snapshot goes into the outbox as an offer; step it again once it is `fetched`.
        """
        try:
            stepped = self.driver.step(message, fetched=fetched)
        except ConsensusError as error:
            self.refusal = error
            # A contradiction inside raft makes every further call fail: the next tick raises.
            return False
        if stepped is not None and stepped[0] == "proposal":
            self._commit_notices.proposed(stepped[1], now)
        elif stepped is not None and stepped[0] == "snapshot" and not fetched:
            index, term, conf_state, data = snapshot_offer(message)
            self._out.offers.append(
                SnapshotOffer(index, term, from_native(conf_state), data, message)
            )
        return True

    def confirm_term(self, term: int) -> None:
        """Believe messages of about this term: a member confirmed it at its own address."""
        self._raft_node.confirm_term(term)

    def unreachable(self, member: int) -> None:
        """Report that messages to that member were dropped, so that its leader probes it."""
        self._raft_node.report_unreachable(member)

    def snapshot_sent(self, member: int, *, arrived: bool) -> None:
        """Report how sending the snapshot to that member ended."""
        self._raft_node.report_snapshot(member, arrived)

    def offer_snapshot(self, index: int, term: int, conf_state: ConfState, data: bytes) -> None:
        """Offer a snapshot of the state at that index to members that need one."""
        self._raft_node.set_snapshot(index, term, to_native(conf_state), data)

    def withdraw_snapshot(self) -> None:
        """Stop offering a snapshot."""
        self._raft_node.clear_snapshot()

    def awaiting_snapshot(self) -> list[int]:
        """Return the members that were offered a snapshot and have not installed it yet."""
        progress = self._raft_node.status().progress
        return [one.id for one in progress if one.state == "snapshot"]

    @property
    def leader(self) -> int:
        """The leader as far as this node knows, 0 for none."""
        return self._leader

    def persisted(self, token: int) -> None:
        """Report that this batch and all before it are written."""
        self.driver.persisted(token)
        renewed = self._incarnations.renewed(token)
        if renewed is not None:
            self.origin = renewed
            self.proposals.renew(renewed)

    def change_membership(self, change: Change, request: int) -> None:
        """Propose one change; MembershipError when raft refuses it now.

        The change is applied when its context comes back in `Outbox.conf_contexts`. It can be lost
        with its leader, and raft drops it while another change is not applied.
        """
        context = change.context(origin=self.origin.node_id, request=request)
        try:
            self._raft_node.propose_conf_change(context, [(change.kind, change.member.id)])
        except ProposalDropped as dropped:
            raise MembershipError(f"the change was not accepted now: {dropped}") from dropped

    def transfer_leader(self, to: int) -> None:
        """Ask raft to hand leadership over; MembershipError when it cannot."""
        try:
            self._raft_node.transfer_leader(to)
        except ConsensusError as refused:
            raise MembershipError(f"leadership cannot go to member {to}: {refused}") from refused

    # --- outputs --------------------------------------------------------------

    def advance(self, now: float, *, flush: bool = False) -> Outbox:
        """Do everything that can be done now; `flush` also writes what could wait."""
        out = self._out
        for flushing in (flush, False):
            self._launch(now)
            self.driver.advance(out, flush=flushing)
            self._digest(out, now)
            if not self.proposals.parked or self._dropped:
                break
        held = self._commit_notices.release() if flush else []
        out.messages = held + self._sift(out.messages, now)
        out.reads = self.reads.ready(self._applier.applied_index)
        self._out = Outbox()
        return out

    def installed(self, changes: Changes, now: float) -> Outbox:
        """Continue after a snapshot has replaced the state, and with it outcomes not seen here."""
        unknown = OutcomeUnknownError(
            "this node caught up by a snapshot that may contain the write"
        )
        out = self._out
        out.deliveries += self.proposals.abandon(unknown, None)
        self._note_proposals()
        self.driver.installed(changes, out)
        self._digest(out, now)
        out.messages = self._sift(out.messages, now)
        self._out = Outbox()
        return out

    def abandon(self, why: DatabaseError) -> list[Delivery]:
        """Refuse everything that waits, because this node stops."""
        unknown = OutcomeUnknownError("this node stopped while the write was under way")
        deliveries, self._out.deliveries = self._out.deliveries, []
        return deliveries + self.proposals.abandon(unknown, why) + self.reads.abandon(why)

    def refuse_writes(self, unknown: DatabaseError, why: DatabaseError) -> list[Delivery]:
        """Refuse every write that waits; those in flight may still be applied."""
        return self.proposals.abandon(unknown, why)

    @property
    def waiting(self) -> int:
        """The number of calls without an answer."""
        return self.proposals.count + self.reads.count

    @property
    def leads(self) -> bool:
        """Whether this node leads, as far as it knows; cheap enough for every call."""
        return self._raft_node.is_leader

    @property
    def term(self) -> int:
        """The current term."""
        return self._raft_node.term

    def status(self) -> RaftStatus:
        """Return the state of the raft node; built by every call, so not for a hot path."""
        return RaftStatus.of(self._raft_node, installing=self.driver.installing)

    def term_of(self, index: int) -> int:
        """Return the term of an entry that is still in the log."""
        return self._raft_node.term_of(index)

    def campaign(self) -> None:
        """Start an election now instead of after a timeout."""
        self._raft_node.campaign()

    def leader_view(self, now: float) -> LeaderView:
        """Return what a leader knows of its followers; empty on any other node."""
        following = {
            progress.id: Following(
                progress.matched,
                # Raft clears its own record with every check of the quorum.
                progress.recent_active or self._in_contact(progress.id, now),
            )
            for progress in self._raft_node.status().progress
        }
        return LeaderView(self._raft_node.leader, self._raft_node.last_index(), following)

    def _in_contact(self, member: int, now: float) -> bool:
        return now - self._contacts.get(member, -inf) < self._timeouts.for_an_outcome

    # --- internals ------------------------------------------------------------

    def _launch(self, now: float) -> None:
        if self._leader != self.origin.node_id and self.proposals.parked and self._leader:
            self._out.deliveries += self.proposals.refuse_local_only(self.not_leader())
        self.proposals.launch(self._propose, now)
        if not self.driver.installing:
            self.reads.ask(self._raft_node.read_index, now)

    def _digest(self, out: Outbox, now: float) -> None:
        """Process what raft and the state machine reported to the replica itself."""
        if out.leadership is not None and out.leadership[0] != self._leader:
            self._lead_by(out.leadership[0], now)
        for outcome in out.outcomes:
            self._incarnations.note(outcome.origin, outcome.incarnation)
            self._out.deliveries += self.proposals.resolve(outcome, now)
            if self.traces is not None:
                self.traces.applied((outcome.origin, outcome.incarnation, outcome.sequence))
        if self.proposals.name_taken:
            out.renewal = self._incarnations.renew(self.origin) or out.renewal
        for index, name in out.read_states:
            self.reads.confirm(index, name)
        out.outcomes, out.read_states = [], []

    def _lead_by(self, leader: int, now: float) -> None:
        self._leader = leader
        self._leaderless_since = None if leader else now
        self._dropped = False
        if leader:
            self.version_preference.leader_found()
            self._suspect_loss()
            self.proposals.barrier(self._propose, now)

    def _sift(self, messages: list[Message], now: float) -> list[Message]:
        """Hold back what can wait: requests for votes, then commit notices."""
        if self._raft_node.leader == 0:
            messages = self._prefer_others(messages, now)
        return self._commit_notices.sift(messages, now)

    def _prefer_others(self, messages: list[Message], now: float) -> list[Message]:
        membership = self._applier.membership
        if membership is None:
            return messages
        since = self._leaderless_since
        leaderless = 0.0 if since is None else now - since
        if self.fenced and leaderless < self.version_preference.timeout:
            return [one for one in messages if one[1] != "pre_vote_request"]
        voters = [one.id for one in rules.voters(membership) if one.id != self.origin.node_id]
        return self.version_preference.sift(messages, voters, leaderless)

    def _note_proposals(self) -> None:
        """Record how far the proposals of all members are applied in the present state."""
        newest = self._applier.newest_proposals()
        self._incarnations.note_all(newest)
        self.proposals.name_taken |= newest.get(self.origin.node_id, (0, 0)) > self.proposals.newest

    def _suspect_loss(self) -> None:
        self.proposals.suspect_loss()
        self.reads.suspect_loss()

    def _propose(self, sequence: int, writes: Sequence[WaitingCommand]) -> bytes | None:
        if (
            self._dropped
            or self._leader == 0
            or self.driver.installing
            or self.proposals.name_taken
        ):
            return None
        entry = self._encode(self.origin, sequence, writes)
        try:
            self._raft_node.propose(b"", entry)
        except ProposalDropped:
            self.counters.dropped += 1
            self._dropped = True
            return None
        self.counters.proposals += 1
        if self.traces is not None:
            number = (self.origin.node_id, self.origin.incarnation, sequence)
            self.traces.proposed(number, writes, self._leader)
        return entry

    def _no_leader(self, now: float) -> NoLeaderError | None:
        since = self._leaderless_since
        if since is None or now < since + self._timeouts.for_a_leader:
            return None
        return NoLeaderError(node=self.origin.node_id)

    def not_leader(self) -> NotLeaderError:
        """Return the error that names the present leader."""
        membership: Membership | None = self._applier.membership
        leader = membership.member(self._leader) if membership is not None else None
        address = leader.client_address if leader is not None else ""
        return NotLeaderError(node=self.origin.node_id, leader=self._leader, leader_address=address)

    def _refuse(self, tickets: Sequence[int], answers: Answers, why: DatabaseError) -> None:
        refused: list[tuple[int, Answer]] = [(ticket, why) for ticket in tickets]
        self._out.deliveries.append((answers, refused))
