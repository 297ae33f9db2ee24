"""`kubectl amaters history`: what happened, by time."""

from datetime import datetime

import click

from amaters_kubectl import call as calls
from amaters_kubectl.call import Call
from amaters_kubectl.cluster import history as histories
from amaters_kubectl.cluster.history import Happening
from amaters_kubectl.cluster.view import ClusterView
from amaters_kubectl.documented import Documented
from amaters_kubectl.screens.lines import Styled, age, at, folded, styled

_STYLES = {"Warning": "warn", "Status": "strong"}


@click.command(
    "history",
    cls=Documented,
    short_help="Show events and changes of the status, by time.",
    examples=(
        "kubectl amaters history orders -n shop",
        "kubectl amaters history orders --since 2h --warnings",
    ),
)
@calls.cluster_argument
@click.option("--since", metavar="TIME", help="Only what is newer, such as 90m, 1h30m or 3d.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="So many lines, the newest.",
)
@click.option("--all", "everything", is_flag=True, help="All, without folding repeats.")
@click.option("--warnings", is_flag=True, help="Only warnings.")
@calls.connection
@calls.formats
@calls.pass_call
def history(
    call: Call, name: str | None, *, since: str | None, limit: int, everything: bool, warnings: bool
) -> None:
    """Show events of the cluster, its pods and volumes, and the changes that its status remembers.

    The newest come first. What several pods report alike, or one again and again, is one line. With
    -o json every event is listed, the oldest first. Kubernetes forgets events after about an hour;
    conditions keep the time of their last change.
    """
    now = calls.now()
    after = _after(since, now)
    cluster = call.cluster(name)
    found = histories.history(cluster, call.kubectl.items("events"), since=after)
    if warnings:
        found = [one for one in found if one.kind == "Warning"]
    if call.format:
        facts = histories.facts(found)
        call.value({"name": cluster.name, "namespace": cluster.namespace, "history": facts})
    else:
        shown = found[::-1] if everything else histories.folded(cluster, found)
        kept = shown if everything else shown[:limit]
        call.show(history_screen(cluster, kept, now=now, columns=call.columns))
        if len(kept) < len(shown):
            call.note(f"{len(shown) - len(kept)} older lines are left out: see --limit and --all")


def history_screen(
    cluster: ClusterView, found: list[Happening], *, now: datetime, columns: int
) -> list[Styled]:
    """Return the lines in the order given. Pure."""
    if not found:
        return [f"nothing is known of {cluster.name} in that time"]
    lines, today = [], all(one.at.date() == now.date() for one in found)
    for one in found:
        when = at(one.at)[-9:] if today else at(one.at)
        head = f"{when}  {age(one.at, now):>6}  "
        about = f"{one.about}: " if one.about else ""
        times = _times(one, now)
        said = f"{one.reason}  {about}{one.message}{times}"
        first, *rest = folded(said, max(columns - len(head), 30))
        reason, space, after = first.partition(" ")
        shown = f"{styled(reason, _STYLES.get(one.kind, 'good'))}{space}{after}"
        lines += [f"{styled(head, 'dim')}{shown}", *(f"{' ' * len(head)}{line}" for line in rest)]
    return lines


def _times(one: Happening, now: datetime) -> str:
    if one.count < 2:  # noqa: PLR2004 - once
        return ""
    since = f" in {age(one.first, one.at)}" if one.first is not None and one.first < one.at else ""
    return f" ({one.count} times{since})"


def _after(since: str | None, now: datetime) -> datetime | None:
    if since is None:
        return None
    length = histories.period(since)
    if length is None:
        raise click.BadParameter(
            f"{since!r} is no time: write 90m, 1h30m or 3d", param_hint="--since"
        )
    try:
        return now - length
    except OverflowError:
        return None
