"""One member seen from its shell: driver, own proposals and reads together. No I/O, no clock.

The shell hands in what happened, calls `advance`, and does what the returned `Outbox` says. The
server's shell is asyncio (`node`), the simulation's is a virtual world (`testing`): both run this.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from amaters_server.model.cluster import ConfState, Membership
from amaters_server.model.errors import (
    DatabaseError,
    MembershipError,
    NoLeaderError,
    NotLeaderError,
    OutcomeUnknownError,
    StorageCorruptedError,
)
from amaters_server.model.queries import Answer, Answers, Read
from amaters_server.raft import membership as rules
from amaters_server.raft.commands import Encode, Origin, WaitingCommand
from amaters_server.raft.commit_notices import CommitNotices
from amaters_server.raft.driver import Driver
from amaters_server.raft.log import HIGHEST_INCARNATION
from amaters_server.raft.membership import Change, Following, LeaderView
from amaters_server.raft.outbox import Outbox, SnapshotOffer
from amaters_server.raft.ports import Applier
from amaters_server.raft.proposals import Delivery, Proposals, Timeouts
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


class Replica:
    """One member of the group: takes calls and messages, says what to do."""

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
        self._raft_node = driver.raft_node
        self._applier = applier
        self._timeouts = timeouts
        self._encode = encode
        self._leader = 0
        self._heard: dict[int, float] = {}
        self._commit_notices = CommitNotices()
        self._leaderless_since: float | None = None
        self._refused = False
        self._out = Outbox()
        """What the next `advance` returns."""
        self._renewal: tuple[int, Origin] | None = None
        """The token of the batch that makes an incarnation durable, and who this node is then."""
        self._silenced: StorageCorruptedError | None = None
        self._incarnations: dict[int, int] = {}
        self._note_proposals()

    # --- what happened --------------------------------------------------------

    def write(self, writes: Sequence[WaitingCommand], answers: Answers, now: float) -> None:
        """Take writes in; they are proposed by the next `advance`."""
        hopeless = self._silenced or self._hopeless(now)
        if hopeless is not None:
            self._refuse([write.ticket for write in writes], answers, hopeless)
        else:
            self.proposals.submit(writes, answers, now)

    def read(self, reads: Sequence[Read], answers: Answers, now: float) -> None:
        """Take linearizable reads in; their barrier is asked for by the next `advance`."""
        hopeless = self._hopeless(now)
        if hopeless is not None:
            self._refuse([read.ticket for read in reads], answers, hopeless)
        else:
            self.reads.submit(reads, answers, now)

    def tick(self, now: float) -> None:
        """Let one tick pass; whatever is overdue is repeated or given up."""
        self.driver.tick()
        self._refused = False
        if self._leader == 0 and self._leaderless_since is None:
            self._leaderless_since = now
        self.reads.repeat(now)
        self.proposals.barrier(self._propose, now)
        no_leader = None if self._leader else NoLeaderError(node=self.origin.node_id)
        self._out.deliveries += self.proposals.expire(now, no_leader)
        self._out.deliveries += self.reads.expire(now, no_leader)

    def hear(self, member: int, now: float) -> None:
        """Note that messages of that member arrived."""
        self._heard[member] = now

    def connected(self, member: int) -> None:
        """Hear of a new connection to that member: what a leader was sent before may be lost."""
        if member == self._leader:
            self._suspect()

    def heard_at(self, member: int) -> float | None:
        """Return when messages of that member last arrived; None: never."""
        return self._heard.get(member)

    def step(self, message: bytes, now: float, *, fetched: bool = False) -> bool:
        """Process a message of another member; False when it was refused and dropped.

        A snapshot goes into the outbox as an offer; step it again once it is `fetched`.
        """
        try:
            stepped = self.driver.step(message, fetched=fetched)
        except ConsensusError as error:
            self.counters.messages_refused += 1
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
        """Hear from a member itself which term it is in."""
        self._raft_node.confirm_term(term)

    def unreachable(self, member: int) -> None:
        """Hear that messages to that member were dropped, so that its leader probes it."""
        self._raft_node.report_unreachable(member)

    def snapshot_sent(self, member: int, *, arrived: bool) -> None:
        """Hear how the image on its way to that member ended."""
        self._raft_node.report_snapshot(member, arrived)

    def offer_snapshot(self, index: int, term: int, conf_state: ConfState, data: bytes) -> None:
        """Offer an image of the state at that index to members that need one."""
        self._raft_node.set_snapshot(index, term, to_native(conf_state), data)

    def withdraw_snapshot(self) -> None:
        """Offer no image any more."""
        self._raft_node.clear_snapshot()

    def awaiting_snapshot(self) -> list[int]:
        """Return the members that were offered an image and have not taken it over yet."""
        progress = self._raft_node.status().progress
        return [one.id for one in progress if one.state == "snapshot"]

    @property
    def leader(self) -> int:
        """Return who leads as far as this node knows, 0 for nobody."""
        return self._leader

    def persisted(self, token: int) -> None:
        """Hear that this batch and all before it are written."""
        self.driver.persisted(token)
        if self._renewal is not None and self._renewal[0] <= token:
            self.origin = self._renewal[1]
            self.proposals.renew(self.origin)
            self._renewal = None

    def change_membership(self, change: Change, request: int) -> None:
        """Propose one change; MembershipError when raft refuses it now.

        It is done when its context comes back in `Outbox.conf_contexts`; it can get lost with
        its leader, or be replaced by nothing while another change is unapplied.
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

    # --- what to do -----------------------------------------------------------

    def advance(self, now: float, *, flush: bool = False) -> Outbox:
        """Do everything that can be done now; `flush` also writes what could wait."""
        out = self._out
        for flushing in (flush, False):
            self._launch(now)
            self.driver.advance(out, flush=flushing)
            self._digest(out, now)
            if not self.proposals.parked or self._refused:
                break
        held = self._commit_notices.release() if flush else []
        out.messages = held + self._sift(out.messages, now)
        out.reads = self.reads.ready(self._applier.applied_index)
        self._out = Outbox()
        return out

    def installed(self, changes: Changes, now: float) -> Outbox:
        """Go on after an image has replaced the state, and with it the outcomes inside it."""
        unknown = OutcomeUnknownError("this node caught up by an image that may contain the write")
        out = self._out
        out.deliveries += self.proposals.abandon(unknown, None)
        self._note_proposals()
        self.driver.installed(changes, out)
        self._digest(out, now)
        out.messages = self._sift(out.messages, now)
        self._out = Outbox()
        return out

    def abandon(self, why: DatabaseError) -> list[Delivery]:
        """Answer everything that waits, for this node stops."""
        unknown = OutcomeUnknownError("this node stopped while the write was under way")
        deliveries, self._out.deliveries = self._out.deliveries, []
        return deliveries + self.proposals.abandon(unknown, why) + self.reads.abandon(why)

    def refuse_writes(self, unknown: DatabaseError, why: DatabaseError) -> list[Delivery]:
        """Answer every write that waits: those under way may still be applied."""
        return self.proposals.abandon(unknown, why)

    @property
    def waiting(self) -> int:
        """Return how many calls wait for an answer."""
        return self.proposals.count + self.reads.count

    @property
    def leads(self) -> bool:
        """Whether this node leads, as far as it knows; cheap enough for every call."""
        return self._raft_node.is_leader

    @property
    def term(self) -> int:
        """Return the present term."""
        return self._raft_node.term

    def status(self) -> RaftStatus:
        """Return the state of the raft node; built by every call, so not for a hot path."""
        return RaftStatus.of(self._raft_node, installing=self.driver.resting)

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
                # Raft forgets whom it heard of with every check of its quorum.
                progress.recent_active or self._heard_lately(progress.id, now),
            )
            for progress in self._raft_node.status().progress
        }
        return LeaderView(self._raft_node.leader, self._raft_node.last_index(), following)

    def _heard_lately(self, member: int, now: float) -> bool:
        return now - self._heard.get(member, -inf) < self._timeouts.for_an_outcome

    # --- inside ---------------------------------------------------------------

    def _launch(self, now: float) -> None:
        if self._leader != self.origin.node_id and self.proposals.parked and self._leader:
            self._out.deliveries += self.proposals.refuse_local_only(self.not_leader())
        self.proposals.launch(self._propose, now)
        if not self.driver.resting:
            self.reads.ask(self._raft_node.read_index, now)

    def _digest(self, out: Outbox, now: float) -> None:
        """Follow what raft and the state machine reported, so that the shell need not."""
        if out.leadership is not None and out.leadership[0] != self._leader:
            self._lead_by(out.leadership[0], now)
        for outcome in out.outcomes:
            self._note_incarnation(outcome.origin, outcome.incarnation)
            self._out.deliveries += self.proposals.resolve(outcome, now)
        if self.proposals.usurped and self._renewal is None and self._silenced is None:
            self._renew(out)
        for index, name in out.read_states:
            self.reads.confirm(index, name)
        out.outcomes, out.read_states = [], []

    def _lead_by(self, leader: int, now: float) -> None:
        self._leader = leader
        self._leaderless_since = None if leader else now
        self._refused = False
        if leader:
            self.version_preference.led()
            self._suspect()
            self.proposals.barrier(self._propose, now)

    def _sift(self, messages: list[Message], now: float) -> list[Message]:
        """Hold back what can wait: requests for votes, then commit notices."""
        if self._raft_node.leader == 0:
            messages = self._let_newer_go_first(messages, now)
        return self._commit_notices.sift(messages, now)

    def _let_newer_go_first(self, messages: list[Message], now: float) -> list[Message]:
        membership = self._applier.membership
        if membership is None:
            return messages
        voters = [one.id for one in rules.voters(membership) if one.id != self.origin.node_id]
        since = self._leaderless_since
        return self.version_preference.sift(messages, voters, 0.0 if since is None else now - since)

    def _note_proposals(self) -> None:
        """Take in from a state as a whole how far the members' proposals are applied."""
        newest = self._applier.newest_proposals()
        for member, (incarnation, _) in newest.items():
            self._note_incarnation(member, incarnation)
        self.proposals.usurped |= newest.get(self.origin.node_id, (0, 0)) > self.proposals.newest

    def _note_incarnation(self, member: int, incarnation: int) -> None:
        if incarnation > self._incarnations.get(member, -1):
            self._incarnations[member] = incarnation
            self._raft_node.note_incarnation(member, incarnation)

    def _renew(self, out: Outbox) -> None:
        """Become a later incarnation than the one that somebody used in this node's name."""
        known = self._incarnations.get(self.origin.node_id, 0)
        incarnation = max(known, self.origin.incarnation) + 1
        if incarnation > HIGHEST_INCARNATION:
            self._silenced = StorageCorruptedError(
                f"no member accepts a write of this node: an entry in its name has incarnation "
                f"{known}, which is beyond reason; remove this member and add a new one"
            )
            return
        out.renewal = replace(self.origin, incarnation=incarnation)
        self._renewal = self.driver.renew(incarnation), out.renewal

    def _suspect(self) -> None:
        self.proposals.suspect()
        self.reads.suspect()

    def _propose(self, sequence: int, writes: Sequence[WaitingCommand]) -> bytes | None:
        if self._refused or self._leader == 0 or self.driver.resting or self.proposals.usurped:
            return None
        entry = self._encode(self.origin, sequence, writes)
        try:
            self._raft_node.propose(b"", entry)
        except ProposalDropped:
            self.counters.dropped += 1
            self._refused = True
            return None
        self.counters.proposals += 1
        return entry

    def _hopeless(self, now: float) -> NoLeaderError | None:
        since = self._leaderless_since
        if since is None or now < since + self._timeouts.for_a_leader:
            return None
        return NoLeaderError(node=self.origin.node_id)

    def not_leader(self) -> NotLeaderError:
        """Return the error that names who leads instead."""
        membership: Membership | None = self._applier.membership
        leader = membership.member(self._leader) if membership is not None else None
        address = leader.client_address if leader is not None else ""
        return NotLeaderError(node=self.origin.node_id, leader=self._leader, leader_address=address)

    def _refuse(self, tickets: Sequence[int], answers: Answers, why: DatabaseError) -> None:
        refused: list[tuple[int, Answer]] = [(ticket, why) for ticket in tickets]
        self._out.deliveries.append((answers, refused))
