"""The status, from observation only: all it keeps is how the cluster started. Pure."""

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.conditions import settle
from amaters_operator.api.status import (
    CertificateStatus,
    ClusterStatus,
    MemberStatus,
    Phase,
    UpgradeStatus,
)
from amaters_operator.decisions import fence, hold, pod_problems
from amaters_operator.decisions.certificates import Rotation
from amaters_operator.decisions.membership import replace
from amaters_operator.decisions.observation import Observation, Pod
from amaters_operator.decisions.pass_result import PassResult
from amaters_operator.decisions.rolls import canary, compatibility, consent
from amaters_operator.decisions.status import conditions, consent_status, progress
from amaters_operator.manifests import names


def cluster_status(cluster: AmatersCluster, result: PassResult) -> ClusterStatus:
    """Return the status without backup and restore: their own controllers write those."""
    observed = result.observed
    leader = observed.leader()
    ready = sum(pod.ready for pod in observed.pods)
    images = {pod.image for pod in observed.pods}
    versions = sorted({node.version for node in observed.nodes.values() if node.version})
    misfits = _misfits(cluster, observed)
    made = ClusterStatus(
        observed_generation=cluster.metadata.generation,
        phase=hold.phase(cluster, observed) or _phase(cluster, result),
        replicas=len(observed.pods),
        volume_size=result.volume_size,
        pods=result.pods,
        ready_replicas=ready,
        ready=f"{ready}/{cluster.spec.replicas}",
        selector=names.selector(cluster),
        leader=names.pod(cluster, leader.ordinal) if leader else "",
        version=",".join(versions),
        image=images.pop() if len(images) == 1 else "",
        members=[
            _member(pod, observed, result.certificates, misfits.get(pod.name, ""))
            for pod in observed.pods
        ],
        storage=list(result.usage),
        auto_grow=result.filling.grown if result.filling else None,
        quarantine=list(result.quarantine),
        absent=replace.absences(cluster, observed),
        upgrade=_upgrade(result),
        fenced=fence.in_force(observed),
        transfer=result.decision.transfer.status,
        surge=result.decision.surge,
        canary=result.canary,
        bootstrap=result.bootstrap,
        certificates=_certificates(result.certificates),
        conditions=settle(conditions.all_of(cluster, result), cluster.status.conditions),
    )
    return consent_status.added(made, cluster.status, result.decision.consent)


def _phase(  # noqa: C901, PLR0911 - a table
    cluster: AmatersCluster, result: PassResult
) -> Phase:
    observed = result.observed
    if not result.bootstrap.cluster_id:
        return Phase.CREATING
    if cluster.spec.bootstrap and not result.bootstrap.restored_from:
        return Phase.RESTORING
    if observed.leader() is None and not (result.secret_problem and observed.mostly_ready):
        return Phase.UNAVAILABLE
    if result.stuck is not None:
        return Phase.UPGRADE_STUCK
    if not observed.revision and cluster.status.phase is not Phase.RUNNING:
        return cluster.status.phase
    if not observed.revision or progress.rolling(cluster, observed):
        return _rolling_phase(cluster, result)
    if result.decision.scaling is not None:
        return Phase.SCALING
    if any(one.reason == canary.REASON for one in result.blocked):
        return Phase.ROLLED_BACK
    return _phase_at_rest(cluster, observed)


def _phase_at_rest(cluster: AmatersCluster, observed: Observation) -> Phase:
    if progress.starting(cluster, observed):
        return Phase.CREATING
    return Phase.DEGRADED if pod_problems.missing(cluster, observed) else Phase.RUNNING


def _rolling_phase(cluster: AmatersCluster, result: PassResult) -> Phase:
    if cluster.spec.upgrade.paused:
        return Phase.UPGRADE_PAUSED
    waits = consent.waits(result.decision.roll)
    return Phase.UPGRADE_WAITING if waits else Phase.UPGRADING


def _misfits(cluster: AmatersCluster, observed: Observation) -> dict[str, str]:
    """Return the versions that are kept out, by pod: the last known ones while that is unknown."""
    result = compatibility.kept_out(observed)
    if result is None:
        return {one.pod: one.incompatible for one in cluster.status.members}
    pods = {member: compatibility.ordinal(observed, member) for member in result}
    return {
        names.pod(cluster, ordinal): result[member].version
        for member, ordinal in pods.items()
        if ordinal is not None
    }


def _member(
    pod: Pod, observed: Observation, certificates: Rotation | None, incompatible: str
) -> MemberStatus:
    node = observed.nodes.get(pod.ordinal)
    member = observed.member(pod.ordinal)
    current = certificates.state.current if certificates and certificates.state else ()
    return MemberStatus(
        id=member.id if member else 0,
        pod=pod.name,
        role=_role(pod, observed),
        ready=pod.ready,
        since=pod.ready_since or pod.unready_since,
        transition=pod.transition,
        updated=bool(observed.revision) and pod.revision == observed.revision,
        node=pod.node,
        version=node.version if node else "",
        lag_entries=member.lag if member else 0,
        incompatible=incompatible,
        certificate_serial=(certificates.serial if certificates and pod.name in current else ""),
    )


def _role(pod: Pod, observed: Observation) -> str:
    node = observed.nodes.get(pod.ordinal)
    if pod.problem:
        return pod.problem.partition(":")[0]  # The conditions give the details.
    if pod.terminating:
        return "Terminating"
    if node is None:
        return "Unreachable" if pod.ready else "Starting"
    word = "".join(part.capitalize() for part in node.state.value.split("_"))
    return word if node.takes_part or not node.reason else f"{word}: {node.reason}"


def _upgrade(result: PassResult) -> UpgradeStatus:
    observed = result.observed
    step = result.stuck or result.decision.roll
    return UpgradeStatus(
        progress=observed.progress() if observed.revision else "",
        revision=observed.revision,
        message="" if step is None else str(step),
    )


def _certificates(observed: Rotation | None) -> CertificateStatus | None:
    if observed is None or observed.state is None:
        return None
    state = observed.state
    total = len(state.reload) + len(state.unproven) + len(state.current)
    return CertificateStatus(
        serial=observed.serial,
        not_after=observed.not_after,
        current_pods=f"{len(state.current)}/{total}",
    )
