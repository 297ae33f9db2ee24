"""`pause`, `resume`, `hibernate`, `wake`: what a person sets in the spec, and takes back."""

from collections.abc import Callable

import click

from amaters_kubectl import call as calls
from amaters_kubectl import names
from amaters_kubectl.call import Call
from amaters_kubectl.changes import set_spec, warn_of_owners
from amaters_kubectl.cluster import goals
from amaters_kubectl.cluster.goals import Progress
from amaters_kubectl.cluster.view import ClusterView, view
from amaters_kubectl.documented import Documented
from amaters_kubectl.waiting import follow


@click.command(
    "pause",
    cls=Documented,
    short_help="Let the operator only watch and report.",
    examples=("kubectl amaters pause orders -n shop",),
)
@calls.cluster_argument
@calls.awaiting
@calls.connection
@calls.formats
@calls.pass_call
def pause(call: Call, name: str | None) -> None:
    """Let the operator only watch and report; the database serves on.

    Pods that die come back by their StatefulSet. Nothing is rolled, scaled, healed or backed up
    until `resume`.
    """
    _set(call, name, "paused", True, "paused: the operator only watches", goals.paused)


@click.command(
    "resume",
    cls=Documented,
    examples=("kubectl amaters resume orders -n shop --wait",),
)
@calls.cluster_argument
@calls.awaiting
@calls.connection
@calls.formats
@calls.pass_call
def resume(call: Call, name: str | None) -> None:
    """Let the operator act again after `pause`."""
    _set(call, name, "paused", False, "resumed: the operator acts again", goals.settled)


@click.command(
    "hibernate",
    cls=Documented,
    short_help="Stop all pods and keep the volumes.",
    examples=("kubectl amaters hibernate orders -n shop --wait",),
)
@calls.cluster_argument
@calls.consent
@calls.awaiting
@calls.connection
@calls.formats
@calls.pass_call
def hibernate(call: Call, name: str | None) -> None:
    """Stop all pods and keep the volumes; `wake` brings the same data back.

    Disrupts: clients are refused until then. Asks, unless --yes is given.
    """
    _set(
        call,
        name,
        "hibernate",
        True,
        "hibernates: pods go, volumes stay",
        goals.hibernated,
        "Stop all {count} pods of {name}? Clients are refused until it wakes; volumes stay.",
    )


@click.command(
    "wake",
    cls=Documented,
    short_help="Start the pods of a hibernated cluster.",
    examples=("kubectl amaters wake orders -n shop --wait",),
)
@calls.cluster_argument
@calls.awaiting
@calls.connection
@calls.formats
@calls.pass_call
def wake(call: Call, name: str | None) -> None:
    """Start the pods of a hibernated cluster, with the same data."""
    _set(call, name, "hibernate", False, "wakes: its pods start with their volumes", goals.awake)


def _set(  # noqa: PLR0917
    call: Call,
    name: str | None,
    field: str,
    wanted: bool,
    said: str,
    goal: Callable[[ClusterView], Progress],
    question: str = "",
) -> None:
    """Set the field, after a question where it disrupts; wait for the goal where that is asked."""
    source = call.kubectl.get(names.CLUSTERS, name or call.only(), owners=True)
    cluster = view(source)
    if (cluster.spec.get(field) or False) is not wanted:
        warn_of_owners(call, source, field)
        if question:
            call.confirm(question.format(count=len(cluster.members), name=cluster.name))
        set_spec(call, cluster, field, wanted=wanted)
    if call.wait:
        follow(call, cluster.name, goal, what=f"{cluster.name} {field}={str(wanted).lower()}")
    call.done(f"{cluster.name} {said}", name=cluster.name, **{field: wanted})
