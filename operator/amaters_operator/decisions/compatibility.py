"""Which members are kept out for their version, by the words of the nodes. Pure.

Two members whose versions do not fit refuse each other, so somebody must be right: who knows a
leader is. Without a leader it takes half of the pods to name a member; fewer say nothing, for
the only one that answers may be the one that is kept out.
"""

from collections import defaultdict
from collections.abc import Mapping

from amaters_operator.decisions.observation import Incompatible, Observation


def kept_out(observed: Observation) -> Mapping[int, Incompatible] | None:
    """Return what is said of those kept out, by member id; None when that is not known just now."""
    led = _by_nodes_with_leader(observed)
    if led is not None:
        return led
    said: dict[int, list[Incompatible]] = defaultdict(list)
    for _, node in sorted(observed.nodes.items()):
        for one in node.incompatible:
            said[one.member].append(one)
    named = {member: by[0] for member, by in said.items() if 2 * len(by) >= len(observed.pods)}
    return named or None


def surely_kept_out(observed: Observation, pod: int) -> bool:
    """Whether those who have a leader keep out the node of that pod.

    Without a leader nobody is surely wrong: acting on it could replace the last one that is right.
    """
    return any(ordinal(observed, member) == pod for member in _by_nodes_with_leader(observed) or ())


def _by_nodes_with_leader(observed: Observation) -> Mapping[int, Incompatible] | None:
    judges = [node for _, node in sorted(observed.nodes.items()) if node.leader_id]
    found = [one for node in judges for one in node.incompatible]
    return {one.member: one for one in reversed(found)} if judges else None


def ordinal(observed: Observation, member: int) -> int | None:
    """Return the pod of a member, by its own word or the leader's; None when nobody says."""
    own = next((number for number, node in observed.nodes.items() if node.id == member), None)
    if own is not None:
        return own
    told = next((one.ordinal for one in observed.members or () if one.id == member), -1)
    return told if told >= 0 else None
