"""A transfer of leadership that a person asks for, by the annotation `amaters.io/transfer`. Pure.

Its value is a pod and any token, such as `orders-1 2026-03-01T12:00:00Z`: each value is served once.
"""

from dataclasses import dataclass

from amaters_operator.api.cluster import GROUP, AmatersCluster
from amaters_operator.api.status import TransferStatus
from amaters_operator.decisions import fence
from amaters_operator.decisions.actions import TransferLeadership, Wait
from amaters_operator.decisions.observation import Observation
from amaters_operator.manifests import names

ANNOTATION = f"{GROUP}/transfer"
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class Transfer:
    """What the newest request comes to in this pass."""

    step: TransferLeadership | Wait | None = None
    status: TransferStatus | None = None
    """The latest request that was served."""
    refused: bool = False
    """It was served by refusing it."""


def transfer(cluster: AmatersCluster, observed: Observation) -> Transfer:
    """Return the next step of the request, or how it has ended."""
    request = (cluster.metadata.annotations or {}).get(ANNOTATION, "")[:_LONGEST]
    before = cluster.status.transfer
    served = before is not None and before.request == request
    if served or not request.split() or cluster.spec.paused or cluster.spec.hibernate:
        return Transfer(status=before)
    pod = request.split()[0]
    if problem := _unknown(cluster, observed, pod) or fence.refusal(cluster, pod):
        text = f"leadership was not transferred to {pod}: {problem}"
        return Transfer(status=TransferStatus(request=request, message=text), refused=True)
    step = _step(observed, pod)
    if step is None:
        return Transfer(status=TransferStatus(request=request, message=f"{pod} leads"))
    return Transfer(step, before)


def _step(observed: Observation, pod: str) -> TransferLeadership | Wait | None:
    leader, heir = observed.leader(), observed.member(names.ordinal(pod))
    if leader is None or heir is None:
        return Wait("a transfer was asked for, and no leader is known now")
    if leader.id == heir.id:
        return None
    if not observed.participates(heir):
        return Wait(f"a transfer to {pod} waits until it takes part")
    return TransferLeadership(heir.id, pod, f"asked for by the annotation {ANNOTATION}")


def _unknown(cluster: AmatersCluster, observed: Observation, pod: str) -> str:
    """Say why the pod can never lead; empty when it can, or when that is not known now."""
    if observed.members is None:
        return ""
    if pod != names.pod(cluster, names.ordinal(pod)) or observed.member(names.ordinal(pod)) is None:
        named = (names.pod(cluster, one.ordinal) for one in observed.voters)
        return f"it is no member of {cluster.name}. Name one of {', '.join(named)}"
    if names.ordinal(pod) not in [one.ordinal for one in observed.voters]:
        return "it is a learner and cannot lead yet: ask again once it is a voter"
    return ""
