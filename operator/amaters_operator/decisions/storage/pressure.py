"""The condition about disks that fill up: which, what is done, and what a person can do. Pure."""

from collections.abc import Sequence

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions.observation import listed
from amaters_operator.decisions.pass_result import Blocked
from amaters_operator.decisions.status.condition import Assessment
from amaters_operator.decisions.storage import usage
from amaters_operator.decisions.storage.growth import Filling

NOT_GROWN = "VolumeNotGrown"
_STOPS = {
    "": "",
    usage.REFUSED: ". Writes that add data are refused",
    usage.NONE: ". No write is taken",
}
_REASONS = {"": "DiskLow", usage.REFUSED: "WritesRefused", usage.NONE: "DiskFull"}


def assessment(cluster: AmatersCluster, filling: Filling, blocked: Sequence[Blocked]) -> Assessment:
    """Return the condition."""
    if not filling.known and not filling.low:
        return Assessment("Unknown", "NotMeasured", "no node has reported its disk yet")
    if not filling.low and not filling.stops:
        return Assessment("False", "EnoughRoom", "every volume has room")
    text = f"{listed(filling.low)}{_STOPS[filling.stops]}"
    refused = next((one.message for one in blocked if one.reason == NOT_GROWN), "")
    reason, step = _next_step(cluster, filling, refused)
    return Assessment("True", reason, f"{text}. {step}")


def refusal(cluster: AmatersCluster, filling: Filling) -> Blocked | None:
    """Return why Kubernetes cannot grow the volumes, though it has accepted the size."""
    if not filling.growing or not filling.refused:
        return None
    text = (
        f"the volumes cannot grow to {filling.size}: {filling.refused.rstrip('.')}. "
        f"{remedy(cluster, filling.size, '')}"
    )
    return Blocked(NOT_GROWN, text)


def remedy(cluster: AmatersCluster, size: str, now: str) -> str:
    """Say what to do about volumes that cannot grow to this size from what they have `now`."""
    if size != cluster.spec.storage.size:
        return (
            "Set allowVolumeExpansion: true in their StorageClass if its driver can grow volumes. "
            "If not, delete data, or create a cluster of another class and restore a backup into "
            "it; without spec.storage.autoGrow this is not tried again"
        )
    back = f", or return spec.storage.size to {now}" if now else ""
    return f"Set allowVolumeExpansion in their StorageClass{back}"


def _next_step(cluster: AmatersCluster, filling: Filling, refused: str) -> tuple[str, str]:
    auto = cluster.spec.storage.auto_grow
    if refused:
        return NOT_GROWN, f"Growing does not help now: {refused}"
    if filling.shared:
        text = (
            "The file system is larger than the volume, so others fill it, and growing the volume "
            "makes no room: make room on the machine"
        )
        return _REASONS[filling.stops], text
    if filling.growing:
        return "VolumesGrow", f"The volumes grow to {filling.size}"
    if auto is not None and filling.limit:
        text = (
            f"They have grown to {filling.size}, and spec.storage.autoGrow.max is {auto.max}: raise "
            "it, or delete data"
        )
        return "GrowthLimit", text
    return (
        _REASONS[filling.stops],
        "Raise spec.storage.size, set spec.storage.autoGrow, or delete data",
    )
