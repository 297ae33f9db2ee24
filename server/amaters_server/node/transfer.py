"""Handing leadership over, and knowing that it arrived."""

from amaters_server.model.cluster import Membership
from amaters_server.model.errors import DeadlineError, MembershipError, NoLeaderError
from amaters_server.node.leadership import Leadership, barrier
from amaters_server.node.ports import Clock
from amaters_server.node.pump import Pump
from amaters_server.raft import membership as rules
from amaters_server.raft.replica import Replica


def successor(replica: Replica, membership: Membership | None, now: float) -> int:
    """Return the voter that should lead next; MembershipError when no other one answers."""
    best = None
    if membership is not None:
        best = rules.most_caught_up(membership, replica.leader_view(now))
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
