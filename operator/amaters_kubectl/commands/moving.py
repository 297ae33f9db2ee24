"""`transfer` and `restart`: leadership to a pod, and every pod through the usual roll."""

from datetime import datetime

import click

from amaters_kubectl import call as calls
from amaters_kubectl import names
from amaters_kubectl.call import Call
from amaters_kubectl.cluster import goals
from amaters_kubectl.cluster.goals import Progress
from amaters_kubectl.cluster.view import ClusterView
from amaters_kubectl.documented import Documented
from amaters_kubectl.errors import PluginError
from amaters_kubectl.reading import part, parts, text
from amaters_kubectl.waiting import follow


@click.command(
    "transfer",
    cls=Documented,
    short_help="Transfer leadership to a pod.",
    examples=(
        "kubectl amaters transfer orders orders-2 -n shop --wait",
        "kubectl amaters transfer orders --yes",
    ),
)
@click.argument("name", callback=calls.object_name)
@click.argument("pod", required=False, callback=calls.object_name)
@calls.consent
@calls.awaiting
@calls.connection
@calls.formats
@calls.pass_call
def transfer(call: Call, name: str, pod: str | None) -> None:
    """Transfer leadership to POD, or to the follower that is most up to date.

    Done once, not kept: a later election may choose another. Disrupts for a moment: asks, unless
    --yes is given.
    """
    cluster = call.cluster(name)
    target = _target(cluster, pod)
    if target == cluster.leader:
        call.done(f"{target} leads already", name=name, leader=target)
        return
    leads = cluster.leader or "no known member"
    call.confirm(f"Transfer leadership of {name} from {leads} to {target}?")
    request = f"{target} {_token(calls.now())}"
    changes = {"metadata": {"annotations": {names.TRANSFER: request}}}
    call.kubectl.patch(names.CLUSTERS, name, changes)
    if not call.wait:
        call.done(f"asked for leadership of {target}", name=name, request=request)
        return
    after = follow(
        call,
        name,
        lambda cluster: goals.transferred(cluster, request),
        what=f"transfer to {target}",
    )
    if after.leader != target:
        said = text(part(after.status, "transfer"), "message")
        raise PluginError("not_transferred", f"{after.leader or 'no member'} leads: {said}")
    call.done(f"{target} leads {name}", name=name, leader=target, request=request)


def _target(cluster: ClusterView, pod: str | None) -> str:
    if pod is not None:
        member = cluster.member(pod)
        if member is None:
            known = calls.listed([one.pod for one in cluster.members])
            raise PluginError("no_member", f"{pod} is no member of {cluster.name}: {known}")
        if member.fenced:
            raise PluginError("fenced", f"{pod} is fenced and may not lead: unfence it first")
        return pod
    able = [
        one for one in cluster.members if one.role == "Follower" and one.ready and not one.fenced
    ]
    if not able:
        raise PluginError(
            "no_follower", f"{cluster.name} has no ready follower that could lead: see status"
        )
    return min(able, key=lambda one: (one.lag or 0, one.pod)).pod


@click.command(
    "restart",
    cls=Documented,
    short_help="Replace every pod, one at a time.",
    examples=("kubectl amaters restart orders -n shop --wait",),
)
@calls.cluster_argument
@calls.consent
@calls.awaiting
@calls.connection
@calls.formats
@calls.pass_call
def restart(call: Call, name: str | None) -> None:
    """Replace every pod, one at a time, as a roll does: followers first, the leader last.

    Windows and approvals of spec.upgrade hold for it, too. Disrupts: asks, unless --yes is given.
    """
    cluster = call.cluster(name)
    call.confirm(
        f"Restart all {len(cluster.members)} pods of {cluster.name}, one at a time, "
        f"{cluster.leader or 'the leader'} last?"
    )
    token = _token(calls.now())
    changes = {"metadata": {"annotations": {names.RESTART: token}}}
    call.kubectl.patch(names.CLUSTERS, cluster.name, changes)

    def goal(cluster: ClusterView) -> Progress:
        return goals.restarted(cluster, _tokens(call, cluster.name), token)

    if call.wait:
        follow(call, cluster.name, goal, what=f"restart of {cluster.name}")
        call.done(f"restarted every pod of {cluster.name}", name=cluster.name, token=token)
    else:
        call.done(_begins(cluster), name=cluster.name, token=token)


def _begins(cluster: ClusterView) -> str:
    """Say when a restart begins that was just asked for."""
    if first := goals.resumed_first(cluster):
        return f"asked for a restart of {cluster.name}, and {first}"
    said = f"{cluster.name} restarts its pods, one at a time"
    if cluster.manual:
        target = f"{cluster.name} -n {cluster.namespace}"
        return f"{said}, once its plan is approved: {names.PROGRAM} approve {target}"
    windows = parts(part(cluster.spec, "upgrade"), "maintenanceWindows")
    return f"{said}, in the next maintenance window" if windows else said


def _tokens(call: Call, name: str) -> dict[str, str]:
    """Return the restart that each pod is from."""
    pods = call.kubectl.items("pods", selector=f"{names.CLUSTER_LABEL}={name}")
    return {
        text(part(one, "metadata"), "name"): text(
            part(one, "metadata", "annotations"), names.RESTART
        )
        for one in pods
    }


def _token(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
