"""`fence` and `unfence`: pods that are kept out of the Services and may not lead."""

from collections.abc import Callable, Collection

import click

from amaters_kubectl import call as calls
from amaters_kubectl import names
from amaters_kubectl.call import Call
from amaters_kubectl.cluster import goals
from amaters_kubectl.cluster.view import ClusterView, fenced_pods
from amaters_kubectl.documented import Documented
from amaters_kubectl.errors import ConflictError, PluginError
from amaters_kubectl.waiting import follow

_ALL = "*"


@click.command(
    "fence",
    cls=Documented,
    short_help="Keep pods out of the Services and out of leadership.",
    examples=(
        "kubectl amaters fence orders orders-1 -n shop",
        "kubectl amaters fence orders --all --yes",
    ),
)
@click.argument("name", callback=calls.object_name)
@click.argument("pods", metavar="POD...", nargs=-1, callback=calls.object_name)
@click.option("--all", "everything", is_flag=True, help="All pods: no client reaches the database.")
@calls.consent
@calls.awaiting
@calls.connection
@calls.formats
@calls.pass_call
def fence(call: Call, name: str, pods: tuple[str, ...], *, everything: bool) -> None:
    """Keep pods out of the Services, and out of leadership, while they run on.

    They still follow and vote, and lead only while no other member can. Disrupts: asks, unless --yes is given.
    """
    wanted = _named(call.cluster(name), pods, everything=everything)
    named = "all pods" if _ALL in wanted else calls.listed(sorted(wanted))
    call.confirm(f"Fence {named} of {name}? Clients no longer reach them, and they may not lead.")
    after = _write(call, name, lambda before: before | wanted)
    _finish(call, name, after, f"fenced {named} of {name}")


@click.command(
    "unfence",
    cls=Documented,
    examples=(
        "kubectl amaters unfence orders orders-1 -n shop",
        "kubectl amaters unfence orders --all",
    ),
)
@click.argument("name", callback=calls.object_name)
@click.argument("pods", metavar="POD...", nargs=-1, callback=calls.object_name)
@click.option("--all", "everything", is_flag=True, help="All pods.")
@calls.awaiting
@calls.connection
@calls.formats
@calls.pass_call
def unfence(call: Call, name: str, pods: tuple[str, ...], *, everything: bool) -> None:
    """Let clients reach fenced pods again."""
    cluster = call.cluster(name)
    wanted = _named(cluster, pods, everything=everything)
    members = frozenset(one.pod for one in cluster.members)

    def less(before: frozenset[str]) -> frozenset[str]:
        if _ALL in wanted:
            return frozenset()
        return (members if _ALL in before else before) - wanted

    after = _write(call, name, less)
    named = "all pods" if _ALL in wanted else calls.listed(sorted(wanted))
    _finish(call, name, after, f"unfenced {named} of {name}")


def _named(cluster: ClusterView, pods: Collection[str], *, everything: bool) -> frozenset[str]:
    if bool(pods) == everything:
        raise click.UsageError("name pods, or give --all")
    members = {one.pod for one in cluster.members}
    if members and (strange := sorted(set(pods) - members)):
        raise PluginError(
            "no_member",
            f"{calls.listed(strange)}: no member of {cluster.name}, which has "
            f"{calls.listed(sorted(members))}",
        )
    return frozenset({_ALL} if everything else pods)


def _write(
    call: Call, name: str, change: Callable[[frozenset[str]], frozenset[str]]
) -> frozenset[str]:
    """Change the annotation; read it again when another change came between."""
    for _ in range(5):
        cluster = call.cluster(name)
        before = frozenset(fenced_pods(cluster.annotations.get(names.FENCED, "")))
        after = change(before)
        if after == before:
            return after
        text = (_ALL if _ALL in after else ",".join(sorted(after))) or None
        metadata = {
            "annotations": {names.FENCED: text},
            "resourceVersion": cluster.resource_version,
        }
        try:
            call.kubectl.patch(names.CLUSTERS, name, {"metadata": metadata})
        except ConflictError:
            continue
        return after
    raise PluginError("conflict", f"{name} keeps changing: run the command again")


def _finish(call: Call, name: str, after: frozenset[str], said: str) -> None:
    if call.wait:
        follow(call, name, lambda cluster: goals.fenced(cluster, after), what=said)
    call.done(said, name=name, fenced=sorted(after))
