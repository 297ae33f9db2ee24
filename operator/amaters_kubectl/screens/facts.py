"""A cluster and its verdict for programs: `-o json` of `status` and `plan`. Pure."""

from amaters_kubectl.cluster.verdict import Problem, Verdict
from amaters_kubectl.cluster.view import ClusterView, Quarantined


def status_facts(cluster: ClusterView, verdict: Verdict) -> dict[str, object]:
    """Return what `status` shows."""
    return {
        "name": cluster.name,
        "namespace": cluster.namespace,
        "health": verdict.health.value,
        "phase": cluster.phase,
        "ready": cluster.ready,
        "desired": cluster.desired,
        "leader": cluster.leader,
        "version": cluster.version,
        "members": [
            {
                "pod": one.pod,
                "role": one.role,
                "ready": one.ready,
                "version": one.version,
                "lagEntries": one.lag,
                "diskPercent": one.disk,
                "node": one.node,
                "fenced": one.fenced,
            }
            for one in cluster.members
        ],
        "quarantine": [kept_facts(one) for one in cluster.quarantine],
        "problems": [_problem(one) for one in verdict.problems],
        "notes": [_problem(one) for one in verdict.notes],
        "next": [{"do": one.command, "why": one.why} for one in verdict.steps],
        **plan_facts(cluster),
    }


def plan_facts(cluster: ClusterView) -> dict[str, object]:
    """Return what `plan` shows."""
    return {
        "plan": cluster.plan,
        "approval": "Manual" if cluster.manual else "Automatic",
        "pendingActions": [
            {"pod": one.pod, "action": one.action, "reason": one.reason, "margin": one.margin}
            for one in cluster.pending
        ],
    }


def kept_facts(one: Quarantined) -> dict[str, object]:
    """Return a claim in quarantine; `until` is null when only a person deletes it."""
    until = None if one.until is None else one.until.isoformat().replace("+00:00", "Z")
    return {"claim": one.claim, "member": one.member, "until": until}


def _problem(one: Problem) -> dict[str, str]:
    return {"kind": one.kind, "reason": one.reason, "message": one.message}
