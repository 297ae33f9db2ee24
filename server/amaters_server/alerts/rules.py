"""Which event is how severe, what it is about, what to do, and how often it is reported. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from amaters_server.alerts.events import (
    AlertEvent,
    FiredAlert,
    IncompatibleMember,
    LeaderChanged,
    NodeFailed,
    NodeRecovered,
    QuorumLost,
    Severity,
    SlowReplication,
    StorageFull,
    StorageLow,
    facts_of,
)
from amaters_server.alerts.view import ClusterView

PAGES = "docs/operations/"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is reported of one kind of event."""

    name: str
    severity: Severity
    page: str
    advice: str
    settles: str = ""
    """The rule whose alert about the same member this one ends: that may fire again at once."""

    @property
    def runbook(self) -> str:
        """Return where the whole procedure is written down."""
        return PAGES + self.page


DEFAULT_RULES: Mapping[type[AlertEvent], Rule] = {
    NodeFailed: Rule(
        "node_failed",
        Severity.CRITICAL,
        "node-failed.md",
        "see with `amaters-cli cluster status` whether the others still have a quorum, then bring "
        "the node back",
        settles="node_recovered",
    ),
    NodeRecovered: Rule(
        "node_recovered",
        Severity.INFO,
        "node-failed.md",
        "nothing, if `amaters-cli cluster status` shows a small lag; find out why it was away",
        settles="node_failed",
    ),
    QuorumLost: Rule(
        "quorum_lost",
        Severity.CRITICAL,
        "quorum-lost.md",
        "writes fail now: bring back as many voters as a majority needs, or mend the network "
        "between them",
    ),
    LeaderChanged: Rule(
        "leader_changed",
        Severity.WARNING,
        "leader-changed.md",
        "nothing after a roll or a transfer; otherwise find out why the old leader went",
    ),
    SlowReplication: Rule(
        "slow_replication",
        Severity.WARNING,
        "slow-replication.md",
        "look at the follower's processor, disk and network; it catches up by itself once the "
        "cause is gone",
    ),
    IncompatibleMember: Rule(
        "incompatible_member",
        Severity.WARNING,
        "incompatible-member.md",
        "see with `amaters-cli cluster status` who runs which version, and bring a member that "
        "differs to the version of the rest",
    ),
    StorageLow: Rule(
        "storage_low",
        Severity.WARNING,
        "storage-full.md",
        "delete data or enlarge the volume: reads and deletes continue, and writes do by "
        "themselves once there is room",
    ),
    StorageFull: Rule(
        "storage_full",
        Severity.CRITICAL,
        "storage-full.md",
        "enlarge the volume, or delete other files on it: reads continue, and writes do by "
        "themselves once there is room",
    ),
}
"""The published rules, and four of ours.

`node_recovered` shows the end of a failure. `incompatible_member` says why a member that is refused
for its version is silent. `storage_low` and `storage_full` are what each node reports of its own
disk.
"""


def subject_of(event: AlertEvent) -> str:
    """Return whom the event is about, as it is in keys; empty for the cluster as a whole."""
    match event:
        case (
            NodeFailed(node)
            | NodeRecovered(node)
            | IncompatibleMember(node)
            | StorageLow(node)
            | StorageFull(node)
        ):
            return f":{node}"
        case SlowReplication(follower):
            return f":{follower}"
        case LeaderChanged(new_leader=leader):
            return f":{leader}"
        case QuorumLost():
            return ""


def message_of(event: AlertEvent, name: Callable[[int], str]) -> str:
    """Say what happened."""
    match event:
        case NodeFailed(node):
            return f"{name(node)} does not answer"
        case NodeRecovered(node):
            return f"{name(node)} answers again"
        case LeaderChanged(old, new):
            return f"{name(new)} leads now; before, it was {name(old)}"
        case QuorumLost(size, reachable):
            return f"only {reachable} of {size} voters reach each other, {size // 2 + 1} are needed"
        case SlowReplication(follower, lag):
            return f"{name(follower)} answers, but is {lag} log entries behind"
        case IncompatibleMember() | StorageLow() | StorageFull():
            return _message_of_ours(event, name)


def _message_of_ours(
    event: IncompatibleMember | StorageLow | StorageFull, name: Callable[[int], str]
) -> str:
    match event:
        case IncompatibleMember(node, major, minor, patch):
            return (
                f"{name(node)} runs version {major}.{minor}.{patch}, which cannot work with the "
                "version here: it is kept out"
            )
        case StorageLow(node, free):
            return f"the disk of {name(node)} has {free} MiB free: it takes no more data"
        case StorageFull(node):
            return f"the disk of {name(node)} is full: it takes no writes"


@dataclass(slots=True)
class RuleEngine:
    """Makes alerts of events, and reports none twice within the window."""

    window: float
    """Seconds; what still goes on when they have passed is reported again."""
    rules: Mapping[type[AlertEvent], Rule] = field(default_factory=lambda: DEFAULT_RULES)
    _reported: dict[tuple[str, str], float] = field(default_factory=dict)
    """When each rule and key was last reported; what is older than the window goes."""

    def fire(
        self, events: Iterable[AlertEvent], view: ClusterView, *, now: float, unix_ms: int
    ) -> list[FiredAlert]:
        """Return the alerts to report now, in the order of the events."""
        self._reported = {one: at for one, at in self._reported.items() if now - at < self.window}
        fired = []
        for event in events:
            rule, subject = self.rules[type(event)], subject_of(event)
            if rule.settles:
                self._reported.pop((rule.settles, rule.settles + subject), None)
            about = (rule.name, rule.name + subject)
            if about not in self._reported:
                self._reported[about] = now
                fired.append(_alert(event, rule, view, unix_ms))
        return fired

    def settle(self, rule: str, lasting: Collection[str] = ()) -> None:
        """Let the rule fire again at once, but for the keys of what still lasts."""
        self._reported = {
            (name, key): at
            for (name, key), at in self._reported.items()
            if name != rule or key in lasting
        }


def _alert(event: AlertEvent, rule: Rule, view: ClusterView, unix_ms: int) -> FiredAlert:
    return FiredAlert(
        event=type(event).__name__,
        rule=rule.name,
        severity=rule.severity,
        key=rule.name + subject_of(event),
        facts=facts_of(event),
        message=message_of(event, view.name_of),
        advice=rule.advice,
        runbook=rule.runbook,
        node_id=view.own,
        node_name=view.name,
        at_unix_ms=unix_ms,
    )
