"""`kubectl amaters undelete`: volumes in quarantine, and bringing one back."""

import click

from amaters_kubectl import call as calls
from amaters_kubectl import names
from amaters_kubectl.call import Call
from amaters_kubectl.cluster.goals import Progress
from amaters_kubectl.cluster.view import ClusterView, Quarantined
from amaters_kubectl.documented import Documented
from amaters_kubectl.errors import PluginError
from amaters_kubectl.screens.facts import kept_facts
from amaters_kubectl.screens.lines import Cell, Column, Styled, at, styled, table
from amaters_kubectl.waiting import follow


@click.command(
    "undelete",
    cls=Documented,
    short_help="Keep the volume of a removed member.",
    examples=(
        "kubectl amaters undelete orders -n shop",
        "kubectl amaters undelete orders data-orders-4 -n shop --wait",
    ),
)
@calls.cluster_argument
@click.argument("claim", required=False, callback=calls.object_name)
@calls.awaiting
@calls.connection
@calls.formats
@calls.pass_call
def undelete(call: Call, name: str | None, claim: str | None) -> None:
    """Take the volume claim of a removed member out of quarantine; without CLAIM, list them.

    The operator deletes a claim in quarantine when its time is over.
    """
    cluster = call.cluster(name)
    if claim is None:
        _list(call, cluster)
        return
    if claim not in {one.claim for one in cluster.quarantine}:
        kept = calls.listed([one.claim for one in cluster.quarantine]) or "none"
        raise PluginError(
            "not_in_quarantine", f"{claim} is not in quarantine in {cluster.name}: {kept}"
        )
    changes = {"metadata": {"annotations": {names.UNDELETE: "true"}}}
    call.kubectl.patch("persistentvolumeclaims", claim, changes)

    def goal(cluster: ClusterView) -> Progress:
        # What a person keeps stays listed, without an end.
        left = any(one.claim == claim and one.until for one in cluster.quarantine)
        return Progress(not left, f"{claim} is still in quarantine")

    if call.wait:
        follow(call, cluster.name, goal, what=f"undelete {claim}")
    call.done(f"{claim} leaves the quarantine and is kept", claim=claim)


def _list(call: Call, cluster: ClusterView) -> None:
    kept = cluster.quarantine
    if call.format:
        call.value({"name": cluster.name, "quarantine": [kept_facts(one) for one in kept]})
    else:
        call.show(quarantine_screen(cluster, kept, columns=call.columns))


def quarantine_screen(
    cluster: ClusterView, kept: tuple[Quarantined, ...], *, columns: int
) -> list[Styled]:
    """Return the claims, a line each. Pure."""
    if not kept:
        return [f"{cluster.name} has no volume in quarantine"]
    shown = [
        Column("CLAIM", [Cell(one.claim) for one in kept]),
        Column("MEMBER", [Cell(one.member) for one in kept], rank=1),
        Column("SINCE", [Cell(at(one.since)) for one in kept], rank=2),
        Column("DELETED AFTER", [Cell(at(one.until) if one.until else "by hand") for one in kept]),
    ]
    command = f"{names.PROGRAM} undelete {cluster.name} {kept[0].claim} -n {cluster.namespace}"
    return [*table(shown, columns), "", f"{styled('Next', 'strong')}  {command}"]
