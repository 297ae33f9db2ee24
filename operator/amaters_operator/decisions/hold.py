"""What people hold: the operator's own work, all pods, or single pods. Pure.

- `spec.paused`: the operator observes and reports; it writes nothing but the status.
- `spec.hibernate`: no pod runs; volumes, members and every object stay.
- the annotation `amaters.io/fenced`: a pod serves no clients and does not lead.
"""

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.conditions import ConditionType
from amaters_operator.api.status import Phase
from amaters_operator.decisions.actions import Step, Wait
from amaters_operator.decisions.arbitration import Decision
from amaters_operator.decisions.observation import Observation, listed
from amaters_operator.decisions.status.condition import Assessment

PAUSED = "Paused"
HIBERNATED = "Hibernated"
HIBERNATING = "Hibernating"


def held(cluster: AmatersCluster, observed: Observation, decision: Decision) -> Decision:
    """Return the decision that is left of this one; what the status remembers of a roll stays."""
    if not cluster.spec.paused and not cluster.spec.hibernate:
        return decision
    step: Wait | None = _stopping(observed)
    if cluster.spec.paused:
        would = "" if decision.step is None else f". Without it, the next step is: {decision.step}"
        step = Wait(f"spec.paused is set: nothing is changed{would}", PAUSED)
    return Decision(
        step,
        consent=decision.consent,
        canary=decision.canary,
        surge=cluster.status.surge,
        transfer=decision.transfer,
    )


def _stopping(observed: Observation) -> Wait | None:
    if not observed.pods:
        return None
    return Wait(f"pods are stopping: {listed(pod.name for pod in observed.pods)}", HIBERNATING)


def phase(cluster: AmatersCluster, observed: Observation) -> Phase | None:
    """Return the phase of a held cluster, or None."""
    if cluster.spec.hibernate:
        return Phase.HIBERNATING if observed.pods else Phase.HIBERNATED
    return Phase.PAUSED if cluster.spec.paused else None


def paused(cluster: AmatersCluster) -> Assessment | None:
    """Say that the operator changes nothing; None when it does."""
    if not cluster.spec.paused:
        return None
    text = (
        "the operator observes and reports only: nothing is healed, rolled, scaled or backed up. "
        "Set spec.paused to false to go on"
    )
    return Assessment("True", PAUSED, text)


def reconciling(cluster: AmatersCluster, step: Step | None) -> Assessment | None:
    """Say how far a held cluster is on its way; None for one that is not held."""
    if cluster.spec.paused:
        return Assessment("False", PAUSED, str(step))
    if not cluster.spec.hibernate:
        return None
    if step is None:
        return Assessment("False", HIBERNATED, "no pod runs, as spec.hibernate says")
    return Assessment("True", HIBERNATING, str(step))


def asleep(cluster: AmatersCluster, observed: Observation) -> dict[ConditionType, Assessment]:
    """Return what is to be said of a cluster that hibernates, instead of what it lacks."""
    now = hibernated(cluster, observed)
    if now is None or (observed.pods and observed.leader() is not None):
        return {}
    no = now._replace(status="False")
    return {ConditionType.READY: no, ConditionType.DEGRADED: no}


def hibernated(cluster: AmatersCluster, observed: Observation) -> Assessment | None:
    """Say whether the pods of a hibernated cluster are gone; None for one that runs."""
    if not cluster.spec.hibernate:
        return None
    if cluster.spec.paused and observed.pods:
        return Assessment("False", PAUSED, "spec.paused keeps the pods running")
    if observed.pods:
        return Assessment("False", HIBERNATING, str(_stopping(observed)))
    text = (
        "no pod runs and every volume is kept: set spec.hibernate to false, and the cluster is "
        "back with the same data"
    )
    return Assessment("True", HIBERNATED, text)
