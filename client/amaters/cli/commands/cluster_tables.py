"""The cluster as a table: one member a line, and below it the problems and what to do."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.text import Text

from amaters.admin.cluster import ClusterMembers, MemberInfo, NodeStatus
from amaters.cli.commands.cluster_view import ClusterView, MemberView, Misfit, is_well
from amaters.cli.formatting import duration, since, timestamp
from amaters.cli.tables import Column, fitted, pairs

EXPIRY_WARNING = timedelta(days=14)
NOTHING = "-"

STATE_STYLES = {
    "leader": "green",
    "follower": "green",
    "learner": "cyan",
    "candidate": "yellow",
    "starting": "yellow",
    "waiting": "yellow",
    "not started": "yellow",
    "shutting_down": "yellow",
    "removed": "red",
    "disk_lost": "red",
    "unreachable": "bold red",
}


def cluster(view: ClusterView, *, now: datetime, width: int) -> RenderableType:
    """Show the whole cluster, in at most that many columns of a terminal."""
    if not view.formed:
        return node(view.asked)
    table, left_out = fitted(_columns(view, now), width)
    parts: list[RenderableType] = [_headline(view), Text(), table]
    remarks = [(_called(one), one.remark) for one in view.nodes if one.remark]
    remarks += [_misfit(view, one) for one in view.misfits]
    if view.outsider is not None:
        remarks.append(_no_member(view.outsider))
    if remarks:
        parts.append(Text())
    parts += [Text.assemble((f"{name}: ", "bold"), remark) for name, remark in remarks]
    if left_out:
        parts.append(_too_narrow(left_out))
    return Group(*parts)


def node(status: NodeStatus) -> RenderableType:
    """Show one node that belongs to no cluster yet."""
    return pairs(
        [
            ("Node", status.name or NOTHING),
            ("State", Text(status.state.value, STATE_STYLES.get(status.state.value, ""))),
            ("Reason", status.reason or NOTHING),
            ("Version", status.version or NOTHING),
            ("Peer Address", status.peer_address or NOTHING),
        ]
    )


def members(found: ClusterMembers, *, from_leader: bool, width: int) -> RenderableType:
    """Show the members as one node lists them, in at most that many columns of a terminal."""
    listed = found.members
    columns = [
        Column("ID", [Text(str(one.id)) for one in listed], right=True),
        Column("NAME", [Text(one.name or NOTHING) for one in listed]),
        Column("ROLE", [_listed_role(one) for one in listed]),
        Column("PEER ADDRESS", [Text(one.peer_address) for one in listed]),
        Column("CLIENT ADDRESS", [Text(one.client_address or NOTHING) for one in listed], rank=3),
        Column("MATCH", [_if_led(one.match_index, from_leader) for one in listed], 2, right=True),
        Column("LAG", [_if_led(one.lag_entries, from_leader) for one in listed], right=True),
        Column("VERSION", [Text(one.version or NOTHING) for one in listed], rank=1),
    ]
    table, left_out = fitted(columns, width)
    return Group(table, _too_narrow(left_out)) if left_out else table


def _listed_role(one: MemberInfo) -> Text:
    role = "leader" if one.is_leader else "learner" if one.is_learner else "follower"
    return Text(role if one.started else f"{role}, not started", STATE_STYLES[role])


def _if_led(value: int, from_leader: bool) -> Text:
    return Text(str(value) if from_leader else NOTHING)


def _too_narrow(left_out: Sequence[str]) -> Text:
    hidden = ", ".join(left_out)
    return Text(f"Too narrow for {hidden}: widen the terminal or use --format json", "dim")


def _headline(view: ClusterView) -> RenderableType:
    voters, reachable = len(view.members.voters), view.reachable_voters
    quorum = voters // 2 + 1
    style = "green" if reachable == voters else "yellow" if reachable >= quorum else "bold red"
    leader = view.members.by_id(view.members.leader_id)
    named = f"{leader.name or leader.peer_address} (id {leader.id})" if leader else "none"
    clients = ", ".join(f"{one.connections} of {one.version or 'others'}" for one in view.clients)
    return pairs(
        [
            ("Cluster", view.members.cluster_id or NOTHING),
            ("Leader", Text(named, "" if leader else "bold red")),
            (
                "Voters",
                Text(f"{reachable} of {voters} reachable, {quorum} needed to write", style),
            ),
            *([("Clients", Text(clients))] if clients else ()),
        ]
    )


def _no_member(asked: NodeStatus) -> tuple[str, str]:
    """Return why the asked node is not in the table: its list may be old."""
    name = asked.name or asked.peer_address or "the node asked"
    state = asked.state.value.replace("_", " ")
    return name, f"answered this, and is no member itself ({state}): {asked.reason or 'no reason'}"


def _misfit(view: ClusterView, one: Misfit) -> tuple[str, str]:
    found = one.found
    by = ", ".join(_name(view, member) for member in one.reported_by)
    misfit = f"runs {found.version} and is kept out by {by} since {timestamp(found.since)}"
    return _name(view, found.member_id), f"{misfit}: {found.reason}; {found.advice}"


def _name(view: ClusterView, member_id: int) -> str:
    known = view.members.by_id(member_id)
    name = "" if known is None else known.name or known.peer_address
    return name or f"member {member_id}"


def _columns(view: ClusterView, now: datetime) -> list[Column]:
    rows = view.nodes
    statuses = [one.status for one in rows]
    return [
        Column("ID", [Text(str(one.member.id)) for one in rows], right=True),
        Column("NAME", [Text(_called(one)) for one in rows]),
        Column("ROLE", [_role(one) for one in rows]),
        Column("STATE", [_state(one) for one in rows]),
        Column("TERM", _counts(statuses, lambda one: one.term), rank=4, right=True),
        Column("COMMIT", _counts(statuses, lambda one: one.commit_index), rank=5, right=True),
        Column("APPLIED", _counts(statuses, lambda one: one.applied_index), rank=3, right=True),
        Column("MATCH", [_led(view, one.member.match_index) for one in rows], rank=6, right=True),
        Column("LAG", [_lag(view, one) for one in rows], right=True),
        Column("VERSION", [Text(one.member.version or _version(one)) for one in rows], rank=1),
        Column("UP", [_up(one, now) for one in statuses], rank=2),
        Column("STARTED", [_started(one) for one in statuses], rank=8),
        Column("CERT EXPIRES", [_expiry(one, now) for one in rows], rank=7),
    ]


def _called(one: MemberView) -> str:
    return one.member.name or one.member.peer_address


def _role(one: MemberView) -> Text:
    if one.member.is_leader:
        return Text("★ leader", "bold green")
    return Text(one.role, "cyan" if one.member.is_learner else "")


def _state(one: MemberView) -> Text:
    if one.status is not None and not is_well(one) and one.status.state.value == one.role:
        return Text(f"{one.state}, not ready", "yellow")
    return Text(one.state, STATE_STYLES.get(one.state, ""))


def _version(one: MemberView) -> str:
    return one.status.version if one.status is not None else NOTHING


def _counts(statuses: Sequence[NodeStatus | None], of: Callable[[NodeStatus], int]) -> list[Text]:
    return [Text(NOTHING if one is None else str(of(one))) for one in statuses]


def _led(view: ClusterView, value: int) -> Text:
    return _if_led(value, view.from_leader)


def _lag(view: ClusterView, one: MemberView) -> Text:
    if not view.from_leader:
        return Text(NOTHING)
    return Text(str(one.member.lag_entries), "yellow" if one.member.lag_entries else "")


def _up(status: NodeStatus | None, now: datetime) -> Text:
    if status is None or status.started_at is None:
        return Text(NOTHING)
    return Text(since(status.started_at, now))


def _started(status: NodeStatus | None) -> Text:
    if status is None or status.started_at is None:
        return Text(NOTHING)
    return Text(status.started_at.strftime("%Y-%m-%d %H:%M:%S"))


def _expiry(one: MemberView, now: datetime) -> Text:
    first = one.next_expiry
    if first is None:
        return Text(NOTHING)
    left = first.not_after - now
    style = "bold red" if left <= timedelta(0) else "yellow" if left < EXPIRY_WARNING else ""
    return Text(f"{first.not_after:%Y-%m-%d} (in {duration(int(left.total_seconds()))})", style)
