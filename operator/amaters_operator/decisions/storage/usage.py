"""How full the volumes are: as their nodes report it now, or reported it last. Pure.

The status keeps the last report, because a node that is down reports nothing, and a full disk may
be why it is down.
"""

import math
from collections.abc import Sequence
from decimal import Decimal

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.status import VolumeUsage
from amaters_operator.decisions.observation import Observation, Room
from amaters_operator.decisions.storage.volumes import Claim, amount
from amaters_operator.manifests import names

_NO_ROOM = "is full: make room"
"""What a node says that cannot start without room; the kubelet repeats it."""
_LEAST_SHARE = Decimal("0.85")
"""A file system takes at least so much of its volume: the rest is its own bookkeeping."""
_SHARED_FROM = Decimal("1.1")
"""A file system so many times as large as its volume claim is not that volume's own."""
REFUSED, NONE = "Refused", "None"
SEVERITY = ("", REFUSED, NONE)


def in_use(claims: Sequence[Claim]) -> list[Claim]:
    """Return the claims whose volumes members use, or are about to."""
    return [one for one in claims if one.since is None and not one.terminating]


def reported(
    cluster: AmatersCluster, observed: Observation, claims: Sequence[Claim]
) -> list[VolumeUsage]:
    """Return how full the volumes in use are; unchanged while the share that is used is."""
    before = {one.pod: one for one in cluster.status.storage}
    found = []
    for claim in in_use(claims):
        pod, node = names.pod(cluster, claim.ordinal), observed.nodes.get(claim.ordinal)
        last = before.get(pod)
        if node is None or node.disk is None or not node.disk.total:
            found += [] if last is None else [last]
            continue
        now = _usage(pod, claim.name, node.disk)
        found.append(last if last is not None and _same(last, now) else now)
    return found


def free_share(claim: Claim, usage: VolumeUsage) -> int:
    """Return how many percent of the file system are free."""
    total = file_system(claim, usage)
    return max(100 - math.ceil(100 * usage.used_bytes / total), 0) if total else 0


def available(claim: Claim, usage: VolumeUsage) -> str:
    """Return how much is free, and of how much, in words."""
    total = file_system(claim, usage)
    return f"{_binary(max(total - usage.used_bytes, Decimal(0)))} of {_binary(total)}"


def file_system(claim: Claim, usage: VolumeUsage) -> Decimal:
    """Return the bytes of the volume's file system.

    Those of the volume where the report is from before it grew: that must not count twice.
    """
    reported, volume = Decimal(usage.capacity_bytes), capacity(claim)
    return reported if reported >= volume * _LEAST_SHARE else volume


def _binary(amount: Decimal) -> str:
    """Return the amount as a quantity, rounded down."""
    for name, power in (("Ti", 4), ("Gi", 3), ("Mi", 2), ("Ki", 1)):
        if amount >= (unit := Decimal(1024) ** power):
            tenths = int(10 * amount / unit)
            return f"{tenths // 10}{f'.{tenths % 10}' if tenths % 10 else ''}{name}"
    return str(int(amount))


def is_shared(claim: Claim, usage: VolumeUsage) -> bool:
    """Whether the file system is more than the volume: growing the claim makes no room there."""
    return usage.capacity_bytes > capacity(claim) * _SHARED_FROM


def capacity(claim: Claim) -> Decimal:
    """Return the bytes of the claim's volume."""
    return amount(claim.capacity or claim.size)


def cannot_start(observed: Observation, ordinal: int) -> bool:
    """Whether the pod's node says that it has no room to start."""
    pod = observed.pod(ordinal)
    return pod is not None and not pod.ready and _NO_ROOM in pod.problem


def _usage(pod: str, claim: str, disk: Room) -> VolumeUsage:
    writes = NONE if disk.full else REFUSED if disk.low else ""
    percent = 100 * disk.used // disk.total
    return VolumeUsage(
        pod=pod,
        claim=claim,
        used_bytes=disk.used,
        capacity_bytes=disk.total,
        percent=percent,
        writes=writes,
    )


def _same(one: VolumeUsage, two: VolumeUsage) -> bool:
    return (one.claim, one.capacity_bytes, one.percent, one.writes) == (
        two.claim,
        two.capacity_bytes,
        two.percent,
        two.writes,
    )
