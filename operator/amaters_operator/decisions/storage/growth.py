"""When volumes grow, and how far; what people read about disks that fill up. Pure.

All volumes have one size, because every member holds the same data: once one of them has too little
room left, all grow. `spec.storage.size` stays the person's; the claims and the status remember how
far they have grown, and a new member's volume begins there. Volumes never shrink, and the next growth
waits for the last one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.members.storage import AutoGrowSpec
from amaters_operator.api.scalars import percent
from amaters_operator.api.status import AutoGrowStatus, VolumeUsage
from amaters_operator.decisions.observation import Observation, listed
from amaters_operator.decisions.storage import usage, volumes
from amaters_operator.decisions.storage.volumes import Claim, amount

BELOW_PERCENT = 20
"""Share that should be free, where the spec does not say."""
_MEBI, _GIBI = 1024**2, 1024**3
_WHOLE_GIBI_FROM = 4 * _GIBI


@dataclass(frozen=True, slots=True)
class Filling:
    """Volumes with too little room, and what becomes of that."""

    size: str
    """What every volume should have at least."""
    low: tuple[str, ...] = ()
    """Each volume with too little room, in words."""
    grown: AutoGrowStatus | None = None
    """How far the volumes have grown by themselves."""
    growing: bool = False
    limit: bool = False
    """They have grown as far as they may."""
    shared: bool = False
    """Growing makes no room: the file system is not the volume's own."""
    refused: str = ""
    """Why they cannot grow."""
    stops: str = ""
    """The most that a node refuses: `usage.REFUSED` or `usage.NONE`."""
    known: bool = True
    """Whether a node has reported its disk."""


def filling(
    cluster: AmatersCluster,
    observed: Observation,
    claims: Sequence[Claim],
    reports: Sequence[VolumeUsage],
) -> Filling:
    """Return which volumes fill up, and the size that all should have."""
    auto, used = cluster.spec.storage.auto_grow, usage.in_use(claims)
    size = _size(cluster, used)
    low = _low(observed, used, reports, BELOW_PERCENT if auto is None else percent(auto.below))
    by_claim = {one.claim: one for one in reports}
    shared = [one for one in low if (it := by_claim.get(one.name)) and usage.is_shared(one, it)]
    growing = any(_grows(one, size) for one in used)
    refuses = {one.writes for one in reports}
    grown = _recorded(cluster, used)
    limit = auto is not None and amount(size) >= amount(auto.max)
    may = auto is not None and not growing and not limit and not cluster.spec.paused
    if auto is not None and may and len(shared) < len(low):
        size = _next(size, auto)
        because = f"less than {auto.below} was free: {listed(low.values())}"
        grown = AutoGrowStatus(size=size, since=observed.now, because=because[:1024])
        growing = True
    if grown is not None and amount(grown.size) <= amount(cluster.spec.storage.size):
        grown = None  # A person has gone further.
    return Filling(
        size,
        tuple(low.values()),
        grown,
        growing=growing,
        limit=limit,
        shared=bool(low) and len(shared) == len(low),
        refused=next((one.trouble for one in used if one.trouble), ""),
        stops=max(refuses, key=usage.SEVERITY.index, default=""),
        known=bool(reports),
    )


def _size(cluster: AmatersCluster, used: Sequence[Claim]) -> str:
    """Return the largest size that was decided: a crash may have left it in one claim only.

    A volume beyond `max` is of a person, who has not asked for the others to grow.
    """
    spec, decided = cluster.spec.storage, [cluster.spec.storage.size]
    if (recorded := _recorded(cluster, used)) is not None:
        decided.append(recorded.size)
    if spec.auto_grow is not None:
        decided += [one.size for one in used if amount(one.size) <= amount(spec.auto_grow.max)]
    return max(decided, key=amount)


def _recorded(cluster: AmatersCluster, used: Sequence[Claim]) -> AutoGrowStatus | None:
    """Return how far the volumes have grown, unless no decision of ours can have led there."""
    found, auto = cluster.status.auto_grow, cluster.spec.storage.auto_grow
    if found is None or not volumes.is_amount(found.size):
        return None
    reached = [amount(one.size) for one in used]
    allowed = [] if auto is None else [amount(auto.max)]
    return found if amount(found.size) <= max([*reached, *allowed], default=0) else None


def _grows(claim: Claim, size: str) -> bool:
    return amount(claim.size) < amount(size) or bool(volumes.growing([claim], size))


def _low(
    observed: Observation, used: Sequence[Claim], reports: Sequence[VolumeUsage], below: int
) -> dict[Claim, str]:
    """Return the volumes with less than that free, each in words."""
    by_claim, found = {one.claim: one for one in reports}, {}
    for claim in used:
        report = by_claim.get(claim.name)
        if usage.cannot_start(observed, claim.ordinal):
            found[claim] = f"{claim.name} has no room for its node to start"
        elif report is not None and (free := usage.free_share(claim, report)) < below:
            room = usage.available(claim, report)
            found[claim] = f"{claim.name} has {free}% of its file system free ({room})"
    return found


def _next(size: str, auto: AutoGrowSpec) -> str:
    wanted = amount(size) * (100 + percent(auto.by)) / 100
    rounded = _rounded(wanted)
    return rounded if amount(rounded) < amount(auto.max) else auto.max


def _rounded(wanted: Decimal) -> str:
    """Return the quantity in whole mebibytes, or gibibytes when it is large; never less."""
    unit, name = (_GIBI, "Gi") if wanted >= _WHOLE_GIBI_FROM else (_MEBI, "Mi")
    return f"{math.ceil(wanted / unit)}{name}"
