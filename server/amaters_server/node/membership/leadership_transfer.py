"""Hands leadership over, and returns once a quorum confirms it."""

from collections.abc import Collection

from amaters_server.model.clock import Clock
from amaters_server.model.cluster import Membership
from amaters_server.model.errors import DeadlineError, MembershipError, NoLeaderError
from amaters_server.node.loop.leadership import Leadership, barrier
from amaters_server.node.loop.loop import ReplicaLoop
from amaters_server.raft import membership as rules
from amaters_server.raft import version_preference
from amaters_server.raft.replica import Replica

ASK_AGAIN_SECONDS = 0.05
"""Between two checks whether a voter answers."""
LEADERLESS_SECONDS = 3.0
"""Without a leader for so long, and for several election timeouts, no quorum can elect one."""


def chosen(
    replica: Replica,
    membership: Membership | None,
    to: int,
    now: float,
    among: Collection[int] | None = None,
) -> int:
    """Return who is to lead next: the member named, or with 0 the best of the others, or of those `among` them.

    MembershipError when no other voter answers, or when the one named runs an older version than
    another that can lead.
    """
    if membership is None:
        raise MembershipError("the members are not known yet: try again later")
    targets = rules.transfer_targets(
        membership, replica.leader_view(now), replica.version_preference.versions
    )
    if to:
        if why := version_preference.objection(to, targets):
            raise MembershipError(f"leadership stays where it is: {why}")
        return to
    if among is not None:
        targets = [one for one in targets if one.id in among]
    best = version_preference.successor(targets)
    if best is None:
        raise MembershipError("no other voter answers: bring one up before leadership can move")
    return best


async def hand_over(
    loop: ReplicaLoop, leadership: Leadership, clock: Clock, to: int, deadline: float
) -> None:
    """Move leadership from this node to a voter; returns once a quorum confirms it.

    Raft gives an attempt up after an election timeout; it is repeated until the deadline, as long
    as that voter answers: no write is taken during an attempt. MembershipError when it does not,
    DeadlineError when leadership did not move; it stays where it is then. NoLeaderError when the
    quorum is lost meanwhile.
    """
    await _move(loop, leadership, clock, to, deadline)
    await _confirm(loop, clock, to, deadline)


async def _move(
    loop: ReplicaLoop, leadership: Leadership, clock: Clock, to: int, deadline: float
) -> None:
    replica = loop.replica
    own = replica.origin.node_id
    turn = loop.timing.longest_election_timeout
    led_at = clock.now()
    give_up_at = led_at + turn
    while replica.leader != to:
        now = clock.now()
        if now >= deadline:
            raise DeadlineError(f"member {to} to take over leadership")
        led_at = now if replica.leader else led_at
        if now - led_at >= max(LEADERLESS_SECONDS, 3 * turn):
            raise NoLeaderError(node=own)
        attempt_ends = now + turn
        if replica.leader == own:
            if rules.answers(to, replica.leader_view(now)):
                replica.transfer_leader(to)
                loop.kick()
            elif now >= give_up_at:
                why = f"leadership stays where it is: member {to} does not answer"
                raise MembershipError(f"{why}: bring it up first, or name another")
            else:
                # A leader that has just been elected has not received messages of all members yet.
                attempt_ends = now + ASK_AGAIN_SECONDS
        await leadership.wait(min(deadline, attempt_ends))


async def _confirm(loop: ReplicaLoop, clock: Clock, to: int, deadline: float) -> None:
    while True:
        try:
            await barrier(loop, clock, min(deadline, clock.now() + LEADERLESS_SECONDS))
        except (DeadlineError, NoLeaderError) as error:
            if loop.replica.leader and clock.now() < deadline:
                continue
            raise DeadlineError(f"a quorum to confirm member {to} as leader") from error
        return
