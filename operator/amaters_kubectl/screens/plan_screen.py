"""The screen of `plan`: what waits, in order, with the margin of the quorum. Pure."""

from typing import Final

from amaters_kubectl.cluster.view import ClusterView
from amaters_kubectl.names import PROGRAM
from amaters_kubectl.reading import moment, part, parts, text
from amaters_kubectl.screens.lines import Cell, Column, Styled, at, labelled, styled, table

_NOTHING: Final = "no disruptive action is pending"


def plan_screen(cluster: ClusterView, *, columns: int = 80) -> list[Styled]:
    """Return the lines."""
    name = styled(f"{cluster.name} in {cluster.namespace}", "strong")
    if not cluster.pending:
        return [f"{name}: {_NOTHING}"]
    lines = [f"{name}: {_count(cluster)}, in this order", ""]
    lines += _actions(cluster, columns)
    lines += ["", *_settings(cluster, columns)]
    return [*lines, "", *_next(cluster)]


def _count(cluster: ClusterView) -> str:
    count = len(cluster.pending)
    return "1 action is pending" if count == 1 else f"{count} actions are pending"


def _actions(cluster: ClusterView, columns: int) -> list[Styled]:
    """Return the table; a reason that does not fit gets lines of its own."""
    pending = cluster.pending
    shown = [
        Column("#", [Cell(str(number)) for number, _ in enumerate(pending, 1)], right=True),
        Column("POD", [Cell(one.pod) for one in pending]),
        Column("ACTION", [Cell(one.action) for one in pending]),
    ]
    shown += [
        Column("REASON", [Cell(one.reason) for one in pending], rank=1),
        Column("MARGIN", [Cell(one.margin) for one in pending]),
    ]
    lines = table(shown, columns)
    if "REASON" in lines[0]:
        return lines
    pods: dict[str, list[str]] = {}
    for one in pending:
        pods.setdefault(one.reason, []).append(one.pod)
    whys = [f"{', '.join(named)}: {reason}" for reason, named in pods.items() if reason]
    return [*lines, "", *(line for one in whys for line in labelled("Why", one, columns))]


def _settings(cluster: ClusterView, columns: int) -> list[Styled]:
    upgrade = part(cluster.spec, "upgrade")
    lines = labelled("Approval", "Manual" if cluster.manual else "Automatic", columns)
    windows = [*parts(upgrade, "maintenanceWindows"), *parts(cluster.spec, "maintenanceWindows")]
    for one in windows:
        zone = text(one, "timeZone") or "UTC"
        said = f"{text(one, 'schedule')} for {text(one, 'duration')} ({zone})"
        lines += labelled("Window", said, columns)
    waiting = cluster.conditions.get("ApprovalRequired")
    if waiting is not None and waiting.status == "True":
        lines += labelled("Waits", waiting.message, columns)
    maintenance = part(cluster.status, "maintenance")
    for label, field in (("Open", "openUntil"), ("Opens", "next")):
        if (when := moment(maintenance, field)) is not None:
            lines += labelled(label, f"until {at(when)}" if label == "Open" else at(when), columns)
    if cluster.plan:
        lines += labelled("Plan", cluster.plan, columns)
    return lines


def _next(cluster: ClusterView) -> list[Styled]:
    head = styled("Next", "strong")
    if not cluster.plan or not cluster.unapproved:
        return [f"{head}  nothing to do: the operator acts by itself, in this order"]
    target = f"{cluster.name} -n {cluster.namespace}"
    return [f"{head}  {PROGRAM} approve {target} --plan {cluster.plan}"]
