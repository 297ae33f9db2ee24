"""Volume claims: which have to grow, whose they are, and which may be deleted. Pure.

A claim carries the mark of the member whose disk it is. Only that mark allows the operator to
delete it, after the removal of this member was committed, and never a pod's number alone.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from amaters_operator.decisions.observation import Observation, State

_UNITS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_QUANTITY = re.compile(
    "([+-]?(?:[0-9]{1,30}[.]?[0-9]{0,30}|[.][0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?)"
    "([KMGTPE]i|[numkMGTPE])?"
)
_MEMBER = re.compile("[0-9]{1,18}")
_EMPTY = frozenset({State.WAITING, State.DISK_LOST})
"""States of a node whose disk belongs to no member yet."""


@dataclass(frozen=True, slots=True)
class SetAsideData:
    """What a removed member has left in a volume that another member uses."""

    member: int
    since: datetime
    until: datetime | None = None
    """When it may be deleted; None: when a person does."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A volume claim of the cluster."""

    name: str
    ordinal: int
    uid: str
    size: str = "0"
    """The requested size."""
    capacity: str = ""
    """The size of its volume; empty while it has none."""
    mark: str = ""
    """`CLUSTER/MEMBER`: whose disk it is; member 0 for an empty one, nothing when unknown."""
    owned: bool = False
    """Kubernetes deletes it together with the AmatersCluster."""
    terminating: bool = False
    since: datetime | None = None
    """Since when it is out of use, because its member was removed; None while it is in use."""
    until: datetime | None = None
    """When it may be deleted; None: when a person does."""
    undelete: bool = False
    """A person has asked to keep it."""
    aside: tuple[SetAsideData, ...] = ()
    """What removed members have left in the volume."""
    trouble: str = ""
    """Why Kubernetes cannot grow its volume; empty without trouble."""

    @property
    def member(self) -> int:
        """Return the member whose disk it is; 0 for none, or when that is not known."""
        return member_id(self.mark.rpartition("/")[2])


def member_id(text: str) -> int:
    """Return the member that the text names; 0 for a text that can name none."""
    return int(text) if _MEMBER.fullmatch(text) else 0


def amount(quantity: str) -> Decimal:
    """Return a Kubernetes quantity as a number; ValueError for anything else."""
    found = _QUANTITY.fullmatch(quantity.strip())
    if found is None:
        raise ValueError(f"{quantity!r} is not a quantity: write for example 10Gi")
    number, unit = found.group(1), found.group(2) or ""
    factor = Decimal(1024) ** _BINARY[unit] if unit in _BINARY else Decimal(10) ** _UNITS[unit]
    return Decimal(number) * factor


def is_amount(text: str) -> bool:
    """Whether the text is a Kubernetes quantity."""
    return _QUANTITY.fullmatch(text.strip()) is not None


def too_small(wanted: str, requested: Mapping[str, str]) -> list[str]:
    """Return the claims, by name, that request less than the wanted size."""
    least = amount(wanted)
    return sorted(name for name, size in requested.items() if amount(size) < least)


def least_size(claims: Iterable[Claim]) -> str:
    """Return the size that every volume has at least; empty without any."""
    sizes = [size for claim in claims for size in (claim.size, claim.capacity) if size]
    return min(sizes, key=amount, default="")


def growing(claims: Iterable[Claim], size: str) -> tuple[str, ...]:
    """Return the claims, by name, whose volumes have yet to grow to what is asked, or to `size`."""
    return tuple(
        claim.name
        for claim in claims
        if claim.capacity and amount(claim.capacity) < max(amount(claim.size), amount(size))
    )


def mark(observed: Observation, claim: Claim) -> str:
    """Return the mark that the claim should carry: its present one unless more is known."""
    node, member = observed.nodes.get(claim.ordinal), observed.member(claim.ordinal)
    if not observed.cluster_id:
        return claim.mark
    away = node is None or (member is not None and node.id == member.id)
    if member is not None and member.started and away and of_no_member(observed, claim):
        # No mark of another member takes from a member that is away what may be its disk.
        return f"{observed.cluster_id}/{member.id}"
    if node is None:
        return claim.mark
    if member is not None and observed.participates(member):
        return f"{observed.cluster_id}/{member.id}"
    if node.state in _EMPTY and member is None:
        return f"{observed.cluster_id}/0"
    return claim.mark


def of_members(observed: Observation, claims: Sequence[Claim]) -> bool:
    """Whether a claim shows that the observed cluster had formed before."""
    known = [one.mark.rpartition("/")[0] for one in claims if one.member]
    return bool(observed.cluster_id) and observed.cluster_id in known


def removable(observed: Observation, claims: Sequence[Claim]) -> list[Claim]:
    """Return the claims of removed members, and of disks that never belonged to one."""
    if observed.leader() is None or not observed.cluster_id:
        return []
    return [
        claim
        for claim in claims
        if not claim.terminating and _out_of_use(observed, claim) and of_no_member(observed, claim)
    ]


def _out_of_use(observed: Observation, claim: Claim) -> bool:
    """Whether no pod and no member is there, nor should be, for which the claim would be."""
    return (
        observed.replicas is not None
        and claim.ordinal >= observed.replicas
        and observed.pod(claim.ordinal) is None
        and observed.member(claim.ordinal) is None
    )


def of_no_member(observed: Observation, claim: Claim) -> bool:
    """Whether its mark names the observed cluster, and none of its members."""
    cluster, _, member = claim.mark.rpartition("/")
    ids = {str(one.id) for one in observed.members or ()}
    return cluster == observed.cluster_id and member not in ids
