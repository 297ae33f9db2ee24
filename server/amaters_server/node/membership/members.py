"""The membership use cases: any node accepts them, the leader carries them out, one at a time."""

from amaters_server.config.addresses import member_name, reachable
from amaters_server.model.cluster import Member, Membership
from amaters_server.model.errors import (
    MembershipError,
    NoLeaderError,
    NotReadyError,
    OutcomeUnknownError,
)
from amaters_server.model.principal import ForwardedFor
from amaters_server.model.versions import dotted
from amaters_server.node.loop.leadership import Leadership
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.node.membership import disk_rooms, forwarding, leadership_transfer
from amaters_server.node.membership.membership_changes import (
    LeadershipMovedError,
    MembershipChanges,
)
from amaters_server.node.parts import Parts
from amaters_server.node.values import Leader, MembersReport, MemberStatus
from amaters_server.raft import membership as rules
from amaters_server.raft.membership import Change, LeaderView
from amaters_server.wire import peer_pb2
from amaters_server.wire.peer_pb2 import ForwardRequest


class Members:
    """Reports and changes the members. All methods belong to the event loop."""

    def __init__(self, loop: ReplicaLoop, parts: Parts, leadership: Leadership) -> None:
        self._loop = loop
        self._engine = parts.engine
        self._machine = parts.machine
        self._transport = parts.transport
        self._leadership = leadership
        self._clock = parts.clock
        self._permit = parts.permit
        self._version = dotted(parts.settings.version)
        self.changes = MembershipChanges(parts.machine, loop, parts.clock)

    # --- use cases ------------------------------------------------------------

    async def report(
        self, *, from_leader: bool, deadline: float, caller: ForwardedFor | None = None
    ) -> MembersReport:
        """Return the members; only a leader fills in their progress."""
        if not from_leader:
            return self._report()
        call = ForwardRequest(list_members=peer_pb2.ListMembers())
        return forwarding.report(await self._call(call, deadline, caller))

    def table_bytes(self) -> int:
        """Return the bytes of this member's table files."""
        return self._engine.statistics().table_bytes

    async def table_sizes(self, own: int, seconds: float) -> dict[int, int]:
        """Return the same of every member that answers, `own` being this one."""
        others = [one.member.id for one in self._report().members if one.member.id != own]
        found = await disk_rooms.table_sizes(self._transport, others, seconds)
        return found | {own: self.table_bytes()}

    async def add(
        self,
        peer_address: str,
        client_address: str,
        name: str,
        *,
        deadline: float,
        caller: ForwardedFor | None = None,
    ) -> Member:
        """Add a learner under a new id; MembershipError when it cannot."""
        try:
            reachable(peer_address)
            if client_address:
                reachable(client_address)
            member_name(name)
        except ValueError as wrong:
            raise MembershipError(f"no member can be added: {wrong}") from None
        call = peer_pb2.AddMember(
            peer_address=peer_address, client_address=client_address, name=name
        )
        return _member(await self._call(ForwardRequest(add_member=call), deadline, caller))

    async def promote(
        self, node: int, *, deadline: float, caller: ForwardedFor | None = None
    ) -> Member:
        """Let a learner vote once it has caught up; MembershipError says what is missing."""
        call = ForwardRequest(promote_member=peer_pb2.PromoteMember(id=node))
        return _member(await self._call(call, deadline, caller))

    async def remove(
        self, node: int, *, deadline: float, caller: ForwardedFor | None = None
    ) -> MembersReport:
        """Remove a member for good; a leader hands leadership over first."""
        call = ForwardRequest(remove_member=peer_pb2.RemoveMember(id=node))
        return forwarding.report(await self._call(call, deadline, caller))

    async def transfer(
        self, to: int, *, deadline: float, caller: ForwardedFor | None = None
    ) -> Leader:
        """Move leadership to a voter (0: the most caught-up one); confirmed by a quorum."""
        call = ForwardRequest(transfer_leadership=peer_pb2.TransferLeadership(to=to))
        reply = await self._call(call, deadline, caller)
        return Leader(reply.leader_id, reply.term)

    async def announce(self, own: Member, *, deadline: float) -> None:
        """Have the cluster record this node's addresses and name."""
        call = peer_pb2.AnnounceMember(
            id=own.id,
            peer_address=own.peer_address,
            client_address=own.client_address,
            name=own.name,
        )
        await self._call(ForwardRequest(announce_member=call), deadline)

    async def claim(self, seen: Member, *, deadline: float) -> None:
        """Bind a member to a disk; only on the leader. MembershipError when another disk has it."""
        await self.changes.carry_out(lambda now, _: rules.claim(now, seen), deadline)

    # --- forwarding -----------------------------------------------------------

    async def _call(
        self, call: ForwardRequest, deadline: float, caller: ForwardedFor | None = None
    ) -> peer_pb2.MemberReply:
        """Carry the call out here, or have the leader do it; a new leader is asked again."""
        if caller is not None:
            call.forwarded_for.CopyFrom(forwarding.forwarded_for(caller))
        loop = self._loop
        while True:
            leader = await self._leadership.leader(loop, deadline)
            if leader == loop.replica.origin.node_id:
                try:
                    return await self._carry_out(call, deadline)
                except LeadershipMovedError:
                    continue
            response = await self._ask(leader, call, deadline)
            if not response.HasField("refusal"):
                return response.members
            error = forwarding.error_of(response.refusal)
            if not isinstance(error, NoLeaderError) or self._clock.now() >= deadline:
                raise error
            await self._leadership.wait(min(deadline, self._clock.now() + 0.1))

    async def _ask(
        self, leader: int, call: ForwardRequest, deadline: float
    ) -> peer_pb2.ForwardResponse:
        left = max(deadline - self._clock.now(), 0.0)
        try:
            return await self._transport.forward(leader, forwarding.addressed(call, left), left)
        except OSError as error:
            if call.HasField("list_members"):
                raise NoLeaderError(node=self._loop.replica.origin.node_id) from error
            why = f"the leader (member {leader}) did not answer: {error}"
            raise OutcomeUnknownError(why) from error

    async def forwarded(self, request: ForwardRequest) -> peer_pb2.ForwardResponse:
        """Carry out a call that another member passed on; never passes it on again."""
        loop = self._loop
        own = loop.replica.origin.node_id
        if loop.replica.leader != own:
            raise NoLeaderError(node=own)
        method = forwarding.METHODS.get(request.WhichOneof("call") or "")
        if method is not None:
            self._permit(forwarding.caller_of(request), method)
        deadline = self._clock.now() + request.timeout_ms / 1000
        try:
            return peer_pb2.ForwardResponse(members=await self._carry_out(request, deadline))
        except LeadershipMovedError:
            raise NoLeaderError(node=own) from None

    async def _carry_out(self, call: ForwardRequest, deadline: float) -> peer_pb2.MemberReply:
        match call.WhichOneof("call"):
            case "list_members":
                return forwarding.reply(self._report())
            case "add_member":
                return await self._lead_add(call.add_member, deadline)
            case "promote_member":
                return await self._lead_promote(call.promote_member.id, deadline)
            case "remove_member":
                return await self._lead_remove(call.remove_member.id, deadline)
            case "announce_member":
                return await self._lead_announce(call.announce_member, deadline)
            case "transfer_leadership":
                return await self._lead_transfer(call.transfer_leadership.to, deadline)
            case _:
                raise MembershipError("this version does not know the call: upgrade this member")

    # --- on the leader --------------------------------------------------------

    async def _lead_add(self, call: peer_pb2.AddMember, deadline: float) -> peer_pb2.MemberReply:
        def decide(now: Membership, _: LeaderView) -> Change:
            return rules.add(
                now,
                peer_address=call.peer_address,
                client_address=call.client_address,
                name=call.name,
            )

        added = await self.changes.carry_out(decide, deadline)
        return self._reply(added.member.id if added else 0)

    async def _lead_promote(self, node: int, deadline: float) -> peer_pb2.MemberReply:
        await self.changes.carry_out(lambda now, view: rules.promote(now, node, view), deadline)
        return self._reply(node)

    async def _lead_remove(self, node: int, deadline: float) -> peer_pb2.MemberReply:
        loop = self._loop
        if node == loop.replica.origin.node_id:
            rules.remove(self._membership(), node, loop.replica.leader_view(self._clock.now()))
            await self._lead_transfer(0, deadline)
            raise LeadershipMovedError
        await self.changes.carry_out(lambda now, view: rules.remove(now, node, view), deadline)
        return self._reply(node)

    async def _lead_announce(
        self, call: peer_pb2.AnnounceMember, deadline: float
    ) -> peer_pb2.MemberReply:
        def decide(now: Membership, _: LeaderView) -> Change | None:
            known = now.member(call.id)
            disk = known.disk_id if known is not None else ""
            return rules.claim(now, forwarding.announced(call, disk))

        await self.changes.carry_out(decide, deadline)
        return self._reply(call.id)

    async def _lead_transfer(self, to: int, deadline: float) -> peer_pb2.MemberReply:
        loop = self._loop
        membership = self._membership()
        target = membership.member(to)
        if to and (target is None or target.is_learner):
            raise MembershipError(f"member {to} is no voter: name one of the voters")
        to = leadership_transfer.chosen(loop.replica, membership, to, self._clock.now())
        await leadership_transfer.hand_over(loop, self._leadership, self._clock, to, deadline)
        return self._reply(to)

    # --- reports --------------------------------------------------------------

    def _report(self) -> MembersReport:
        loop = self._loop
        raft, view = loop.replica.status(), loop.replica.leader_view(self._clock.now())
        membership = self._machine.membership
        members = membership.members if membership is not None else ()
        return MembersReport(
            cluster_id=membership.cluster_id if membership is not None else "",
            leader_id=raft.leader,
            term=raft.term,
            commit_index=raft.commit,
            members=tuple(self._status(member, view, loop) for member in members),
        )

    def _status(self, member: Member, view: LeaderView, loop: ReplicaLoop) -> MemberStatus:
        own = member.id == loop.replica.origin.node_id
        following = view.following.get(member.id)
        matched = following.matched if following is not None else 0
        return MemberStatus(
            member,
            is_leader=member.id == view.leader,
            match_index=matched,
            lag_entries=max(view.last_index - matched, 0) if following is not None else 0,
            recent_active=own or (following is not None and following.recent_active),
            version=self._version if own else self._transport.versions().get(member.id, ""),
            silent_ms=0 if own else self._silent_ms(member, loop),
        )

    def _silent_ms(self, member: Member, loop: ReplicaLoop) -> int | None:
        received = loop.replica.last_contact(member.id)
        return None if received is None else int(max(self._clock.now() - received, 0) * 1000)

    def _reply(self, member_id: int) -> peer_pb2.MemberReply:
        return forwarding.reply(self._report(), member_id)

    def _membership(self) -> Membership:
        membership = self._machine.membership
        if membership is None:
            raise NotReadyError("it has not received the cluster's state yet")
        return membership


def _member(reply: peer_pb2.MemberReply) -> Member:
    found = next(
        (
            one.member
            for one in forwarding.report(reply).members
            if one.member.id == reply.member_id
        ),
        None,
    )
    if found is None:
        raise OutcomeUnknownError("the leader does not list the member")
    return found
