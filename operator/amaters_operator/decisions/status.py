"""The status, from observation only: nothing in it is remembered but how the cluster began. Pure."""

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.conditions import settle
from amaters_operator.api.status import (
    CertificateStatus,
    ClusterStatus,
    MemberStatus,
    Phase,
    UpgradeStatus,
)
from amaters_operator.decisions import compatibility, conditions, progress, troubles
from amaters_operator.decisions.findings import Certificates, Findings
from amaters_operator.decisions.seen import Pod, Seen
from amaters_operator.manifests import names


def status(cluster: AmatersCluster, found: Findings) -> ClusterStatus:
    """Return the whole status but for the backups, which their own controller writes."""
    seen = found.seen
    leader = seen.leader()
    ready = sum(pod.ready for pod in seen.pods)
    images = {pod.image for pod in seen.pods}
    versions = sorted({node.version for node in seen.nodes.values() if node.version})
    judged = conditions.all_of(cluster, found)
    misfits = _misfits(cluster, seen)
    return ClusterStatus(
        observed_generation=cluster.metadata.generation,
        phase=_phase(cluster, found),
        replicas=len(seen.pods),
        volume_size=found.volume_size,
        pods=found.pods,
        ready_replicas=ready,
        ready=f"{ready}/{cluster.spec.replicas}",
        selector=names.selector(cluster),
        leader=names.pod(cluster, leader.ordinal) if leader else "",
        version=",".join(versions),
        image=images.pop() if len(images) == 1 else "",
        members=[
            _member(pod, seen, found.certificates, misfits.get(pod.name, "")) for pod in seen.pods
        ],
        upgrade=_upgrade(found),
        bootstrap=found.bootstrap,
        certificates=_certificates(found.certificates),
        conditions=settle(judged, cluster.status.conditions),
    )


def _phase(cluster: AmatersCluster, found: Findings) -> Phase:  # noqa: PLR0911 - a table
    seen = found.seen
    if not found.bootstrap.cluster_id:
        return Phase.CREATING
    if cluster.spec.bootstrap and not found.bootstrap.restored_from:
        return Phase.RESTORING
    if seen.leader() is None and not (found.blind and seen.mostly_ready):
        return Phase.UNAVAILABLE
    if found.stuck is not None:
        return Phase.UPGRADE_STUCK
    if not seen.revision and cluster.status.phase is not Phase.RUNNING:
        return cluster.status.phase
    if not seen.revision or progress.rolling(cluster, seen):
        return Phase.UPGRADE_PAUSED if cluster.spec.upgrade.paused else Phase.UPGRADING
    if found.plan.change is not None:
        return Phase.SCALING
    return Phase.DEGRADED if troubles.missing(cluster, seen) else Phase.RUNNING


def _misfits(cluster: AmatersCluster, seen: Seen) -> dict[str, str]:
    """Return the versions that are kept out, by pod: those last known while nobody can tell."""
    found = compatibility.kept_out(seen)
    if found is None:
        return {one.pod: one.incompatible for one in cluster.status.members}
    pods = {member: compatibility.ordinal(seen, member) for member in found}
    return {
        names.pod(cluster, ordinal): found[member].version
        for member, ordinal in pods.items()
        if ordinal is not None
    }


def _member(
    pod: Pod, seen: Seen, certificates: Certificates | None, incompatible: str
) -> MemberStatus:
    node = seen.nodes.get(pod.ordinal)
    member = seen.member(pod.ordinal)
    current = certificates.verdict.current if certificates and certificates.verdict else ()
    return MemberStatus(
        id=member.id if member else 0,
        pod=pod.name,
        role=_role(pod, seen),
        ready=pod.ready,
        since=pod.ready_since or pod.unready_since,
        transition=pod.transition,
        updated=bool(seen.revision) and pod.revision == seen.revision,
        node=pod.node,
        version=node.version if node else "",
        lag_entries=member.lag if member else 0,
        incompatible=incompatible,
        certificate_serial=(certificates.serial if certificates and pod.name in current else ""),
    )


def _role(pod: Pod, seen: Seen) -> str:
    node = seen.nodes.get(pod.ordinal)
    if pod.trouble:
        return pod.trouble.partition(":")[0]  # The conditions tell the rest.
    if pod.terminating:
        return "Terminating"
    if node is None:
        return "Unreachable" if pod.ready else "Starting"
    word = "".join(part.capitalize() for part in node.state.value.split("_"))
    return word if node.takes_part or not node.reason else f"{word}: {node.reason}"


def _upgrade(found: Findings) -> UpgradeStatus:
    seen = found.seen
    step = found.stuck or found.plan.roll
    return UpgradeStatus(
        progress=seen.progress() if seen.revision else "",
        revision=seen.revision,
        message="" if step is None else str(step),
    )


def _certificates(seen: Certificates | None) -> CertificateStatus | None:
    if seen is None or seen.verdict is None:
        return None
    verdict = seen.verdict
    total = len(verdict.reload) + len(verdict.unproven) + len(verdict.current)
    return CertificateStatus(
        serial=seen.serial,
        not_after=seen.not_after,
        current_pods=f"{len(verdict.current)}/{total}",
    )
