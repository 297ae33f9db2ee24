"""The screen of `status`: the members first, what to do at the end. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from amaters_kubectl.cluster.verdict import FULL_PERCENT, Health, Problem, Step, Verdict, hibernated
from amaters_kubectl.cluster.view import ClusterView, Member, Quarantined
from amaters_kubectl.reading import moment, part, text
from amaters_kubectl.screens.lines import (
    Cell,
    Column,
    Styled,
    age,
    at,
    folded,
    labelled,
    plain,
    span,
    styled,
    table,
)

STYLES: Final = {
    Health.HEALTHY: "good",
    Health.CHANGING: "warn",
    Health.HELD: "warn",
    Health.UNHEALTHY: "bad",
}
_SHORTEST: Final = 2
"""Lines of a message that are shown in any case."""
_WARN_PERCENT: Final = 80
_MOST_LAG: Final = 1000


def status_screen(
    cluster: ClusterView,
    verdict: Verdict,
    *,
    now: datetime,
    columns: int = 80,
    rows: int | None = None,
) -> list[Styled]:
    """Return the lines; with `rows`, long messages are cut so that all of it fits."""
    whole = _screen(cluster, verdict, now, columns, None)
    if rows is None:
        return whole
    most = _SHORTEST + 4
    while len(whole) > rows - 1 and most >= 1:  # The prompt needs a line, too.
        whole = _screen(cluster, verdict, now, columns, most)
        most -= 1
    return whole


def _screen(
    cluster: ClusterView, verdict: Verdict, now: datetime, columns: int, most: int | None
) -> list[Styled]:
    lines = [*_headline(cluster, verdict, columns), "", *_members(cluster, columns)]
    facts = _facts(cluster, now, columns, most)
    lines += ["", *facts] if facts else []
    troubles = _troubles(verdict, columns, most)
    lines += ["", *troubles] if troubles else []
    return [*lines, "", *_next(verdict.steps, columns, working=verdict.health is Health.CHANGING)]


def _headline(cluster: ClusterView, verdict: Verdict, columns: int) -> list[Styled]:
    state = styled(verdict.health.value, STYLES[verdict.health])
    facts = [cluster.phase, f"{cluster.ready}/{cluster.desired} ready"]
    facts += [f"{cluster.leader} leads"] if cluster.leader else ["no leader"]
    facts += [cluster.version] if cluster.version else []
    if hibernated(cluster):
        facts = [cluster.phase, f"{cluster.ready} pods, {cluster.desired} when it wakes"]
    name = f"{plain(cluster.name)} in {plain(cluster.namespace)}"
    rest = folded(", ".join(facts), max(columns - len(name) - len(verdict.health.value) - 4, 24))
    return [f"{styled(name, 'strong')}: {state}. {rest[0]}", *(f"  {one}" for one in rest[1:])]


def _members(cluster: ClusterView, columns: int) -> list[Styled]:
    members = cluster.members
    if not members:
        waiting = "no pods: it is hibernated" if hibernated(cluster) else "no members yet"
        return [styled(waiting, "dim")]
    return table(
        [
            Column("MEMBER", [Cell(one.pod) for one in members]),
            Column("ROLE", [_role(one) for one in members]),
            Column("READY", [_ready(one) for one in members]),
            Column("VERSION", [_version(one) for one in members], rank=2),
            Column("LAG", [_lag(one) for one in members], rank=1, right=True),
            Column("DISK", [_disk(one) for one in members], rank=1, right=True),
            Column("NODE", [Cell(one.node) for one in members], rank=3),
        ],
        columns,
    )


def _role(member: Member) -> Cell:
    role = member.role.partition(":")[0] or "-"
    style = {"Leader": "good", "Follower": "", "Learner": "warn"}.get(role, "bad")
    return Cell(f"{role}, fenced", "warn") if member.fenced else Cell(role, style)


def _ready(member: Member) -> Cell:
    return Cell("yes") if member.ready else Cell("no", "warn" if member.fenced else "bad")


def _version(member: Member) -> Cell:
    if member.incompatible:
        return Cell(f"{member.incompatible} refused", "bad")
    return Cell(member.version)


def _lag(member: Member) -> Cell:
    if member.lag is None:
        return Cell("")
    return Cell(str(member.lag), "warn" if member.lag > _MOST_LAG else "")


def _disk(member: Member) -> Cell:
    if member.disk is None:
        return Cell("")
    bad = "bad" if member.refuses or member.disk >= FULL_PERCENT else ""
    return Cell(f"{member.disk}%", bad or ("warn" if member.disk >= _WARN_PERCENT else ""))


def _facts(cluster: ClusterView, now: datetime, columns: int, most: int | None) -> list[Styled]:
    rows: list[tuple[str, str]] = []
    roll = part(cluster.status, "upgrade")
    progress, message = text(roll, "progress"), text(roll, "message")
    # A pod that is not ready does not count as updated, also when no roll is under way.
    if progress and not _is_complete(progress) and not cluster.says("UpgradeInProgress", "False"):
        step = "" if cluster.unapproved else message  # Pending names it, and what it waits for.
        rows.append(("Roll", f"{progress} updated{f'; {step}' if step else ''}"))
    rows += _proofs(cluster, now)
    if cluster.pending:
        rows.append(("Pending", _pending(cluster)))
    if cluster.quarantine:
        kept = [_kept(one) for one in cluster.quarantine]
        rows.append(("Kept", "; ".join(kept)))
    if cluster.backup.completed is not None:
        due = f"; next {at(cluster.backup.next)}" if cluster.backup.next is not None else ""
        rows.append(("Backup", f"{age(cluster.backup.completed, now)} ago{due}"))
    cap = None if most is None else max(min(most, _SHORTEST), 1)
    return [line for name, said in rows for line in labelled(name, said, columns, most=cap)]


def _proofs(cluster: ClusterView, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what a first pod has to prove, and members that are away."""
    canary = part(cluster.status, "canary")
    if text(canary, "trying") and (pod := text(canary, "pod")):
        baking = moment(canary, "bakingSince")
        bake = text(part(cluster.spec, "upgrade", "canary"), "bake")
        done = f"has baked {age(baking, now)}" if baking else "is not well yet"
        doubt = text(canary, "doubt")
        yield (
            "Canary",
            f"{pod} {done}{f' of {bake}' if bake else ''}{f': {doubt}' if doubt else ''}",
        )
    after = text(part(cluster.spec, "healing"), "replaceAfter")
    for one in cluster.absent:
        replaced = f"; it is replaced after {after}" if after not in ("", "never") else ""
        yield "Absent", f"{one.pod or f'member {one.member}'} for {age(one.since, now)}{replaced}"


def _kept(one: Quarantined) -> str:
    aside = f" (data of member {one.member})" if one.set_aside else ""
    until = "until a person deletes it" if one.until is None else f"until {at(one.until)}"
    return f"{one.claim}{aside} {until}"


def _pending(cluster: ClusterView) -> str:
    first = cluster.pending[0]
    more = f", then {len(cluster.pending) - 1} more" if len(cluster.pending) > 1 else ""
    said = f"{first.action} {first.pod}: {first.reason}{more}"
    return f"{said} (plan {cluster.plan})" if cluster.plan else said


def _is_complete(progress: str) -> bool:
    done, _, total = progress.partition("/")
    return done == total


def _troubles(verdict: Verdict, columns: int, most: int | None) -> list[Styled]:
    lines = []
    for one in verdict.problems:
        lines += _entry("✗", "bad", one, columns, most)
    for one in verdict.notes:
        lines += _entry("•", "warn", one, columns, most)
    return lines


def _entry(mark: str, style: str, problem: Problem, columns: int, most: int | None) -> list[Styled]:
    head = problem.kind
    if problem.reason and problem.reason != problem.kind:
        head = f"{head} ({problem.reason})"
    first, *rest = folded(f"{head}: {problem.message}", columns - 2, most)
    return [f"{styled(mark, style)} {first}", *(f"  {one}" for one in rest)]


def _next(steps: Sequence[Step], columns: int, *, working: bool = False) -> list[Styled]:
    if not steps:
        said = "wait: the operator is at work" if working else "nothing to do"
        return [f"{styled('Next', 'strong')}  {said}"]
    lines: list[Styled] = []
    for number, step in enumerate(steps):
        head = styled("Next", "strong") if number == 0 else "    "
        lines.append(f"{head}  {styled(step.command)}{_why(step, columns)}")
    return lines


def _why(step: Step, columns: int) -> Styled:
    said = f"  # {step.why}"
    fits = step.why and len(step.command) + len(said) + 6 <= columns
    return styled(said, "dim") if fits else ""


def clusters_screen(
    judged: Sequence[tuple[ClusterView, Verdict]], *, now: datetime, columns: int = 80
) -> list[Styled]:
    """Return one line for each cluster."""
    views = [one for one, _ in judged]
    lines = table(
        [
            Column("NAMESPACE", [Cell(one.namespace) for one in views]),
            Column("NAME", [Cell(one.name) for one in views]),
            Column("HEALTH", [Cell(one.health.value, STYLES[one.health]) for _, one in judged]),
            Column("PHASE", [Cell(one.phase) for one in views]),
            Column("READY", [Cell(f"{one.ready}/{one.desired}") for one in views], right=True),
            Column("LEADER", [Cell(one.leader) for one in views], rank=2),
            Column("VERSION", [Cell(one.version) for one in views], rank=1),
            Column("SINCE", [Cell(_since(one, now)) for one in views], rank=3, right=True),
        ],
        columns,
    )
    bad = [view for view, one in judged if one.health is Health.UNHEALTHY]
    steps = [Step(f"kubectl amaters status {one.name} -n {one.namespace}") for one in bad[:3]]
    return [*lines, "", *_next(steps, columns)]


def _since(cluster: ClusterView, now: datetime) -> str:
    """Return for how long the cluster has been ready, or not."""
    ready = cluster.conditions.get("Ready")
    if ready is None or ready.since is None:
        return ""
    return span(max(int((now - ready.since).total_seconds()), 0))
