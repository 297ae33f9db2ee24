"""`kubectl amaters plan` and `approve`: what the operator would disrupt, and the consent to it."""

import click

from amaters_kubectl import call as calls
from amaters_kubectl import names
from amaters_kubectl.call import Call
from amaters_kubectl.cluster import goals
from amaters_kubectl.cluster.view import ClusterView, view
from amaters_kubectl.documented import Documented
from amaters_kubectl.errors import ConflictError, PluginError
from amaters_kubectl.screens.facts import plan_facts
from amaters_kubectl.screens.plan_screen import plan_screen
from amaters_kubectl.waiting import follow


@click.command(
    "plan",
    cls=Documented,
    short_help="Show what the operator would disrupt next, and why.",
    examples=("kubectl amaters plan orders -n shop",),
)
@calls.cluster_argument
@calls.connection
@calls.formats
@calls.pass_call
def plan(call: Call, name: str | None) -> None:
    """Show what the operator would disrupt next: pods, order, reason, margin of the quorum."""
    cluster = call.cluster(name)
    if call.format:
        call.value({"name": cluster.name, "namespace": cluster.namespace, **plan_facts(cluster)})
    else:
        call.show(plan_screen(cluster, columns=call.columns))


@click.command(
    "approve",
    cls=Documented,
    examples=(
        "kubectl amaters approve orders -n shop",
        "kubectl amaters approve orders --plan 3f9ac1d2 --wait",
    ),
)
@calls.cluster_argument
@click.option(
    "--plan", "hash_", metavar="HASH", help="Approve this plan alone, as `plan` shows it."
)
@calls.consent
@calls.awaiting
@calls.connection
@calls.formats
@calls.pass_call
def approve(call: Call, name: str | None, *, hash_: str | None) -> None:
    """Let exactly the pending plan begin.

    Any other plan, as after another change of the spec, needs another approval. Disrupts: asks,
    unless --yes or --plan is given.
    """
    cluster = call.cluster(name)
    wanted = _approvable(cluster, hash_)
    if cluster.annotations.get(names.APPROVE) == wanted:
        call.done(f"plan {wanted} of {cluster.name} was approved before", plan=wanted)
    else:
        if hash_ is None:
            call.show([] if call.format or call.yes else plan_screen(cluster, columns=call.columns))
            call.confirm(f"Approve plan {wanted} of {cluster.name}?")
        _write(call, cluster, wanted)
        call.done(f"approved plan {wanted} of {cluster.name}", plan=wanted)
    if call.wait:
        follow(call, cluster.name, goals.settled, what=f"plan {wanted}")


def _approvable(cluster: ClusterView, hash_: str | None) -> str:
    """Return the hash of the pending plan; PluginError when there is none, or another."""
    if not cluster.plan or not (cluster.unapproved or cluster.manual):
        raise PluginError("nothing_pending", f"{cluster.name} has no plan that waits for approval")
    if hash_ not in (None, cluster.plan):
        raise PluginError(
            "other_plan",
            f"the pending plan of {cluster.name} is {cluster.plan}, not {hash_}: look at it with "
            f"{names.PROGRAM} plan {cluster.name}",
        )
    return cluster.plan


def _write(call: Call, cluster: ClusterView, wanted: str) -> None:
    """Write the approval, if the object is still the one that was read, or has the same plan."""
    for _ in range(5):
        version = cluster.resource_version
        metadata = {"annotations": {names.APPROVE: wanted}, "resourceVersion": version}
        try:
            call.kubectl.patch(names.CLUSTERS, cluster.name, {"metadata": metadata})
        except ConflictError:
            cluster = view(call.kubectl.get(names.CLUSTERS, cluster.name))
            _approvable(cluster, wanted)
        else:
            return
    raise PluginError("conflict", f"{cluster.name} keeps changing: run the command again")
