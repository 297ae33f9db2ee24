"""`kubectl amaters status`: how the clusters are, and what to do."""

import click

from amaters_kubectl import call as calls
from amaters_kubectl.call import Call
from amaters_kubectl.cluster.verdict import Health, judge
from amaters_kubectl.cluster.view import ClusterView, view
from amaters_kubectl.documented import Documented
from amaters_kubectl.errors import PluginError
from amaters_kubectl.program import UNHEALTHY
from amaters_kubectl.screens.facts import status_facts
from amaters_kubectl.screens.status_screen import clusters_screen, status_screen


@click.command(
    "status",
    cls=Documented,
    examples=(
        "kubectl amaters status orders -n shop",
        "kubectl amaters status -A",
        "kubectl amaters status orders -o json",
    ),
)
@calls.cluster_argument
@click.option(
    "-A", "--all-namespaces", "everywhere", is_flag=True, help="All clusters, a line each."
)
@click.option("--full", is_flag=True, help="Cut no message, whatever the height of the terminal.")
@calls.connection
@calls.formats
@calls.pass_call
def status(call: Call, name: str | None, *, everywhere: bool, full: bool) -> None:
    """Show the members, what is wrong, and what to do next.

    Without NAME: the only cluster of the namespace, or a list of all. The exit code is 3 when
    something needs a person, and 0 otherwise, also while the operator is at work.
    """
    if name is not None and everywhere:
        raise click.UsageError("give NAME or --all-namespaces, not both")
    found = (
        [call.cluster(name)]
        if name
        else [view(one) for one in call.clusters(everywhere=everywhere)]
    )
    if not found:
        place = "no namespace" if everywhere else "this namespace"
        raise PluginError(
            "no_cluster",
            f"{place} has an AmatersCluster: docs/quick-start.md makes one"
            if everywhere
            else f"{place} has no AmatersCluster: name another with -n, or see all with -A",
        )
    _show(call, found, alone=len(found) == 1 and not everywhere, full=full)


def _show(call: Call, found: list[ClusterView], *, alone: bool, full: bool) -> None:
    judged = [(one, judge(one)) for one in found]
    now = calls.now()
    if call.format:
        facts = [status_facts(*one) for one in judged]
        call.value(facts[0] if alone else {"clusters": facts})
    elif alone:
        [(cluster, verdict)] = judged
        rows = None if full else call.rows
        call.show(status_screen(cluster, verdict, now=now, columns=call.columns, rows=rows))
    else:
        call.show(clusters_screen(judged, now=now, columns=call.columns))
    if any(verdict.health is Health.UNHEALTHY for _, verdict in judged):
        click.get_current_context().exit(UNHEALTHY)
