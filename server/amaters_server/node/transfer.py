"""Handing leadership over, and knowing that it arrived."""

from amaters_server.model.cluster import Membership
from amaters_server.model.errors import DeadlineError, MembershipError, NoLeaderError
from amaters_server.node.leadership import Leadership, barrier
from amaters_server.node.ports import Clock
from amaters_server.node.pump import Pump
from amaters_server.raft import membership as rules
from amaters_server.raft import seniority
from amaters_server.raft.replica import Replica


def chosen(replica: Replica, membership: Membership | None, to: int, now: float) -> int:
    """Return who is to lead next: the member named, or with 0 the best of the others.

    MembershipError when no other voter answers, or when the one named runs an older version than
    another that can lead.
    """
    if membership is None:
        raise MembershipError("the members are not known yet: try again later")
    heirs = rules.heirs(membership, replica.leader_view(now), replica.candidacy.versions)
    if to:
        if why := seniority.objection(to, heirs):
            raise MembershipError(f"leadership stays where it is: {why}")
        return to
    best = seniority.successor(heirs)
    if best is None:
        raise MembershipError("no other voter answers: bring one up before leadership can move")
    return best


async def hand_over(
    pump: Pump, leadership: Leadership, clock: Clock, to: int, deadline: float
) -> None:
    """Move leadership from this node to a voter; returns once a quorum confirms it.

    Raft gives an attempt up after an election timeout; it is repeated until the deadline.
    DeadlineError when leadership did not move; it stays where it is then.
    """
    replica = pump.replica
    own = replica.origin.node_id
    while replica.leader != to:
        if clock.now() >= deadline:
            raise DeadlineError(f"member {to} to take over leadership")
        if replica.leader == own:
            replica.transfer_leader(to)
            pump.kick()
        attempt_ends = min(deadline, clock.now() + pump.timing.longest_election_timeout)
        await leadership.wait(attempt_ends)
    try:
        await barrier(pump, clock, deadline)
    except (DeadlineError, NoLeaderError) as error:
        raise DeadlineError(f"a quorum to confirm member {to} as leader") from error
