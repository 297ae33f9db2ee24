"""Which members are kept out for their version, by the reports of the nodes. Pure.

Two members of incompatible versions refuse each other, so one of them has to be believed: the one
with a leader is. Without a leader, half of the pods must name a member: the only node that answers
may be the one that is kept out.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from amaters_operator.decisions.observation import Incompatible, Observation

REASON: Final = "IncompatibleMember"
"""Reason of a condition and of an event: a member is kept out because of its version."""


def kept_out(observed: Observation) -> Mapping[int, Incompatible] | None:
    """Return the members that are kept out, by id; None when that is not known now."""
    led = _by_nodes_with_leader(observed)
    if led is not None:
        return led
    reports: dict[int, list[Incompatible]] = defaultdict(list)
    for _, node in sorted(observed.nodes.items()):
        for one in node.incompatible:
            reports[one.member].append(one)
    named = {member: by[0] for member, by in reports.items() if 2 * len(by) >= len(observed.pods)}
    return named or None


def certainly_kept_out(observed: Observation, pod: int) -> bool:
    """Whether nodes with a leader keep out the node of that pod.

    Without a leader it is not certain which side is wrong: acting could replace the right one.
    """
    return any(ordinal(observed, member) == pod for member in _by_nodes_with_leader(observed) or ())


def _by_nodes_with_leader(observed: Observation) -> Mapping[int, Incompatible] | None:
    judges = [node for _, node in sorted(observed.nodes.items()) if node.leader_id]
    found = [one for node in judges for one in node.incompatible]
    return {one.member: one for one in reversed(found)} if judges else None


def ordinal(observed: Observation, member: int) -> int | None:
    """Return the pod of a member, by its own report or the leader's; None when neither is known."""
    own = next((number for number, node in observed.nodes.items() if node.id == member), None)
    if own is not None:
        return own
    listed = next((one.ordinal for one in observed.members or () if one.id == member), -1)
    return listed if listed >= 0 else None
