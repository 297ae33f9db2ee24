"""The status of an AmatersAccess: whether it counts, since when on every node, and what to do. Pure.

`Ready`, `Reconciling` and `Stalled` as kstatus reads them: exactly one of them is True.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from amaters_operator.api.access import AccessStatus, AmatersAccess
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.conditions import Condition, ConditionType, settle
from amaters_operator.decisions.access.admission import Refusal
from amaters_operator.decisions.observation import Observation, listed
from amaters_operator.decisions.status.condition import Assessment
from amaters_operator.manifests import names
from amaters_operator.manifests.grants import Grant

_LONGEST_MESSAGE = 2048


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass made of one object."""

    access: AmatersAccess
    grant: Grant | None = None
    """None: it gives nothing."""
    refusal: Refusal | None = None
    """Why; or, with a grant, why its key is not renewed."""
    renews_at: datetime | None = None
    due: datetime | None = None
    """When its Secret has to change next."""


def behind(
    cluster: AmatersCluster,
    observed: Observation,
    files: Collection[str],
    restart_hash: str,
    *,
    formed: bool,
) -> str:
    """Say which nodes have not reported the newest configuration in force; empty: all have.

    Also a member that does not answer may serve callers, by an older file.
    """
    if not formed:
        return "the cluster is being created"
    wanted = {pod.ordinal for pod in observed.pods}
    wanted |= {one.ordinal for one in observed.members or () if one.ordinal >= 0}
    if not wanted:
        return "no node runs; the first that starts loads the rights"
    nodes, pods = observed.nodes, {pod.ordinal: pod for pod in observed.pods}
    silent = [at for at in sorted(wanted) if at not in nodes]
    old = [at for at in sorted(wanted & nodes.keys()) if nodes[at].config_digest not in files]
    unmade = [at for at in sorted(pods) if pods[at].restart_hash != restart_hash]
    held = (
        "nothing is changed while the cluster's spec.paused is set; " if cluster.spec.paused else ""
    )
    for ordinals, what in (
        (silent, "no answer to the operator"),
        (old, "the newest configuration, which takes up to two minutes, is on its way to"),
        (unmade, "to be restarted first, because authentication or other settings have changed"),
    ):
        if ordinals:
            return f"{held}{what}: {listed(names.pod(cluster, one) for one in ordinals)}"
    return ""


def status(outcome: Outcome, behind: str, now: datetime) -> AccessStatus:
    """Return the status; `behind` says which nodes have not loaded the newest configuration.

    What was in force once stays so: a node that restarts loads the newest files.
    """
    access, grant = outcome.access, outcome.grant
    if grant is None:
        return AccessStatus(
            observed_generation=access.metadata.generation,
            who=access.who,
            conditions=_conditions(access, _assessed(outcome, "", ready=False), now),
        )
    before = access.status
    rights = before.in_force == grant.digest or not behind
    keys = [one.id for one in grant.keys if not behind or one.id in before.keys]
    # The key that the user has comes first: a renewal takes no right away.
    ready = rights and all(one.id in keys for one in grant.keys[:1])
    return AccessStatus(
        observed_generation=access.metadata.generation,
        who=access.who,
        secret_name=access.secret_name if grant.user else "",
        renews_at=outcome.renews_at,
        in_force=grant.digest if rights else "",
        keys=keys,
        conditions=_conditions(access, _assessed(outcome, behind, ready=ready), now),
    )


def loaded(access: AmatersAccess, grant: Grant) -> bool:
    """Whether every node has loaded all keys of the user, by the status."""
    return {one.id for one in grant.keys} <= set(access.status.keys)


def refused(access: AmatersAccess, refusal: Refusal, now: datetime) -> AccessStatus:
    """Return the status of an object that gives nothing."""
    return status(Outcome(access, refusal=refusal), "", now)


def _assessed(outcome: Outcome, behind: str, *, ready: bool) -> dict[ConditionType, Assessment]:
    refusal = outcome.refusal
    calm = Assessment("False", "NotStalled", "nothing needs a person")
    done = Assessment("False", "Reconciled", "nothing is left to do")
    state = Assessment("False", "Refused", "no node has been asked")
    if ready:
        state = Assessment("True", "InForce", "every node has loaded these rights")
    elif outcome.grant is not None:
        state = Assessment("False", "Loading", f"not yet in force everywhere: {behind}")
        done = Assessment("True", "Loading", behind)
    if refusal is not None:
        why = Assessment("True", refusal.reason, refusal.message)
        if outcome.grant is None:
            state = why._replace(status="False")
        if refusal.lasting:
            calm, done = why, Assessment("False", "Stalled", "see Stalled")
        else:
            done = why
    return {
        ConditionType.READY: state,
        ConditionType.RECONCILING: done,
        ConditionType.STALLED: calm,
    }


def _conditions(
    access: AmatersAccess, assessed: dict[ConditionType, Assessment], now: datetime
) -> list[Condition]:
    made = [
        Condition(
            type=kind,
            status=one.status,
            reason=one.reason,
            message=one.message[:_LONGEST_MESSAGE],
            observed_generation=access.metadata.generation,
            last_transition_time=now,
        )
        for kind, one in assessed.items()
    ]
    return settle(made, access.status.conditions)
