"""When what a command asked for is reached: judged from the object, not from what was sent. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from amaters_kubectl.cluster.verdict import WORKING
from amaters_kubectl.cluster.view import ClusterView
from amaters_kubectl.names import APPROVE, PROGRAM
from amaters_kubectl.reading import flag, part, text, texts


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is."""

    done: bool
    said: str
    held: str = ""
    """What a person does first: the operator alone does not reach it."""


def resumed_first(cluster: ClusterView) -> str:
    """Name what lets a paused operator act again; empty when it acts."""
    if not cluster.paused:
        return ""
    return f"it is paused: {PROGRAM} resume {cluster.name} -n {cluster.namespace}"


def approved_first(cluster: ClusterView) -> str:
    """Name what lets the plan begin; empty when no person is waited for."""
    asks = cluster.seen and cluster.says("ApprovalRequired")
    by_time = asks and cluster.conditions["ApprovalRequired"].reason == "WaitsForWindow"
    given = bool(cluster.plan) and cluster.annotations.get(APPROVE) == cluster.plan
    if not asks or by_time or given:
        return ""
    target = f"{cluster.name} -n {cluster.namespace}"
    return f"plan {cluster.plan} waits for approval: {PROGRAM} approve {target}"


def _held(cluster: ClusterView) -> str:
    return resumed_first(cluster) or approved_first(cluster)


def settled(cluster: ClusterView) -> Progress:
    """Say whether the operator has seen the spec and has nothing left to do, or what stops it."""
    if not cluster.seen:
        return Progress(False, "waiting for the operator to see the change")
    for kind in ("Stalled", "RolloutStuck"):
        if cluster.says(kind):
            return Progress(False, f"{kind}: {cluster.conditions[kind].message}")
    if cluster.says("Reconciling") or cluster.phase in WORKING:
        working = cluster.conditions.get("Reconciling")
        said = working.message if working else cluster.phase
        roll = text(part(cluster.status, "upgrade"), "progress")
        said = f"{said} ({roll} updated)" if roll else said
        return Progress(False, said, _held(cluster))
    if not cluster.says("Ready"):
        ready = cluster.conditions.get("Ready")
        return Progress(False, f"not ready: {ready.message if ready else cluster.phase}")
    return Progress(True, "done")


def paused(cluster: ClusterView) -> Progress:
    """Say whether the operator only watches."""
    done = cluster.seen and cluster.paused and cluster.says("Paused")
    return Progress(done, "waiting for the operator to confirm the pause")


def hibernated(cluster: ClusterView) -> Progress:
    """Say whether no pod is left, by the operator's word."""
    done = cluster.seen and (flag(cluster.status, "hibernated") or cluster.says("Hibernated"))
    left = len(cluster.members)
    said = f"{left} pods are left" if left else "waiting for the operator"
    return Progress(done, said, resumed_first(cluster))


def awake(cluster: ClusterView) -> Progress:
    """Say whether the cluster serves again."""
    if flag(cluster.status, "hibernated") or cluster.says("Hibernated") or not cluster.seen:
        said = "waiting for the operator to start the pods"
        return Progress(False, said, resumed_first(cluster))
    ready = f"{cluster.ready} of {cluster.desired} members are ready"
    return Progress(cluster.says("Ready") and cluster.ready >= cluster.desired, ready)


def fenced(cluster: ClusterView, wanted: Collection[str]) -> Progress:
    """Say whether exactly these pods are kept out, and none of them leads."""
    now = set(texts(cluster.status, "fenced"))
    pods = {one.pod for one in cluster.members} if "*" in wanted else set(wanted)
    # With all pods fenced, one of them leads.
    leads = cluster.leader in pods and len(pods) < len(cluster.members)
    left = (pods - now) | (now - pods - {"*"})
    done = ("*" in now and "*" in wanted) or (not left and not leads)
    if leads:
        return Progress(done, f"{cluster.leader} still leads")
    said = f"waiting for: {', '.join(sorted(left)) or 'the operator'}"
    return Progress(done, said, resumed_first(cluster))


def transferred(cluster: ClusterView, request: str) -> Progress:
    """Say whether the operator has answered the request."""
    answer = part(cluster.status, "transfer")
    if text(answer, "request") == request:
        return Progress(True, text(answer, "message"))
    said = text(answer, "message") or f"{cluster.leader or 'no member'} leads"
    return Progress(False, said, resumed_first(cluster))


def restarted(cluster: ClusterView, tokens: Mapping[str, str], token: str) -> Progress:
    """Say whether every pod carries the token, by pod in `tokens`, and all are ready again."""
    new = sum(one == token for one in tokens.values())
    total = max(cluster.desired, len(tokens))
    if new < total:
        return Progress(False, f"{new} of {total} pods are restarted", _held(cluster))
    return Progress(
        cluster.ready >= cluster.desired and cluster.says("Ready"),
        f"{cluster.ready} of {total} members are ready",
    )
