"""How a cluster is, what is wrong with it, and what a person does next. Pure."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from amaters_kubectl.cluster.view import ClusterView, Condition
from amaters_kubectl.names import PROGRAM


class Health(enum.Enum):
    """The state in one word."""

    HEALTHY = "healthy"
    CHANGING = "changing"
    """The operator is at work, and nothing is wrong."""
    HELD = "held"
    """A person holds it: paused, hibernated, fenced, or an approval is awaited."""
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is not as it should be."""

    kind: str
    """A type of condition, or what takes its place."""
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Step:
    """What a person does next: a command or a sentence, and why."""

    command: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `status` ends with."""

    health: Health
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    """What a person chose, or what passes by itself."""
    steps: tuple[Step, ...]


WRONG_WHEN_TRUE: Final = (
    "Stalled",
    "RolloutStuck",
    "CanaryFailed",
    "RolledBack",
    "DiskPressure",
    "StorageFull",
    "ForeignObjects",
    "BackupPlaceShared",
)
WRONG_WHEN_FALSE: Final = ("BackupSucceeded", "CertificatesCurrent", "BackupVerified")
HOLDING: Final = ("Paused", "Hibernated", "Fenced", "ApprovalRequired")
FULL_PERCENT: Final = 90
"""Use of a disk above which it is a problem whatever the conditions say."""

_PASSING: Final = (("CertificatesCurrent", "Rotating"), ("DiskPressure", "VolumesGrow"))
"""Reasons of conditions that pass by themselves."""


def judge(cluster: ClusterView) -> Verdict:
    """Return how the cluster is, and what to do."""
    problems = _distinct(list(_problems(cluster)))
    notes = tuple(_notes(cluster))
    return Verdict(
        _health(cluster, problems), problems, notes, tuple(_steps(cluster, problems))[:3]
    )


def _health(cluster: ClusterView, problems: tuple[Problem, ...]) -> Health:
    if problems:
        return Health.UNHEALTHY
    if any(_holds(cluster)):
        return Health.HELD
    if not cluster.seen or cluster.says("Reconciling") or cluster.phase in WORKING:
        return Health.CHANGING
    return Health.HEALTHY


WORKING: Final = ("Unknown", "Creating", "Restoring", "Scaling", "Upgrading", "Hibernating")
"""Phases in which something is missing because the operator is at work."""


def hibernated(cluster: ClusterView) -> bool:
    """Return whether no pods are meant to run."""
    done = cluster.status.get("hibernated") is True or cluster.says("Hibernated")
    return done or cluster.hibernating


def _problems(cluster: ClusterView) -> Iterator[Problem]:
    if not hibernated(cluster):
        yield from _absent(cluster)
    for kind in WRONG_WHEN_TRUE:
        if cluster.says(kind) and not _passes(cluster.conditions[kind]):
            yield _of(cluster.conditions[kind])
    for kind in WRONG_WHEN_FALSE:
        if cluster.says(kind, "False") and not _passes(cluster.conditions[kind]):
            yield _of(cluster.conditions[kind])
    if not any(cluster.says(kind) for kind in ("DiskPressure", "StorageFull")):
        yield from _full(cluster)


def _absent(cluster: ClusterView) -> Iterator[Problem]:
    """Name what keeps the cluster from serving, unless the operator is at work on just that."""
    ready, degraded = cluster.conditions.get("Ready"), cluster.conditions.get("Degraded")
    at_work = cluster.phase in WORKING and not cluster.says("Stalled")
    started = cluster.phase not in ("Unknown", "Creating", "Restoring")
    if ready is not None and ready.status != "True" and (started or not at_work):
        yield _of(ready)
    if degraded is not None and degraded.status != "False" and not at_work:
        yield _of(degraded)
    if ready is None and cluster.phase in ("Unavailable", "Degraded", "Invalid"):
        yield Problem(cluster.phase, "", "the operator reports no conditions")


def _full(cluster: ClusterView) -> Iterator[Problem]:
    full = [one for one in cluster.members if one.refuses or (one.disk or 0) >= FULL_PERCENT]
    if full:
        named = ", ".join(
            f"{one.pod} {one.disk}%{' (refuses writes)' if one.refuses else ''}" for one in full
        )
        yield Problem("Disk", "NearlyFull", f"disks are nearly full: {named}")


def _notes(cluster: ClusterView) -> Iterator[Problem]:
    for kind in HOLDING:
        if cluster.says(kind):
            yield _of(cluster.conditions[kind])
    yield from (one for one in _held(cluster) if not cluster.says(one.kind))
    for kind, reason in _PASSING:
        condition = cluster.conditions.get(kind)
        if condition is not None and condition.reason == reason:
            yield _of(condition)
    if not cluster.seen:
        text = "the operator has not seen the newest change of the spec"
        yield Problem("Reconciling", "NotSeen", text)
    elif cluster.says("Reconciling") and not _told(cluster):
        yield _of(cluster.conditions["Reconciling"])


def _told(cluster: ClusterView) -> bool:
    """Return whether the line about the approval says what the operator waits for."""
    asked, working = (cluster.conditions.get(one) for one in ("ApprovalRequired", "Reconciling"))
    return (
        cluster.unapproved and asked is not None and working is not None
    ) and asked.reason == working.reason


def _held(cluster: ClusterView) -> Iterator[Problem]:
    """Name what the object itself says, where the operator does not."""
    if cluster.paused:
        yield Problem("Paused", "", "spec.paused is true: the operator only watches")
    if cluster.hibernating:
        yield Problem("Hibernated", "", "spec.hibernate is true: pods go, volumes stay")
    if cluster.unapproved:
        count = len(cluster.pending)
        yield Problem("ApprovalRequired", "", f"{count} actions wait for approval")


def _holds(cluster: ClusterView) -> Iterator[bool]:
    yield cluster.paused
    yield cluster.hibernating
    yield any(cluster.says(kind) for kind in HOLDING)
    yield any(one.fenced for one in cluster.members)
    yield cluster.unapproved


def _steps(cluster: ClusterView, problems: tuple[Problem, ...]) -> Iterator[Step]:
    """Name what to do, the most urgent first."""
    target = f"{cluster.name} -n {cluster.namespace}"
    if cluster.unapproved:
        yield Step(f"{PROGRAM} plan {target}", "shows what waits")
        yield Step(f"{PROGRAM} approve {target}", "lets it begin")
    if problems:
        yield from _remedies(cluster, problems, target)
    if cluster.paused:
        yield Step(f"{PROGRAM} resume {target}", "the operator acts again")
    if hibernated(cluster):
        yield Step(f"{PROGRAM} wake {target}", "starts the pods with their data")
    if fenced := [one.pod for one in cluster.members if one.fenced]:
        yield Step(f"{PROGRAM} unfence {cluster.name} {' '.join(fenced)} -n {cluster.namespace}")
    if cluster.phase == "Unknown":
        yield Step(f"{PROGRAM} version", "does an operator run, and watch this namespace?")


def _remedies(cluster: ClusterView, problems: tuple[Problem, ...], target: str) -> Iterator[Step]:
    kinds = {one.kind for one in problems}
    if kinds & {"CanaryFailed", "RolledBack"}:
        yield Step("correct the spec", "the same spec is not tried again")
    yield Step("do what the lines marked ✗ say")
    if "Disk" in kinds:
        yield Step("raise spec.storage.size, or set spec.storage.autoGrow")
    unwell = not cluster.leader or not all(one.ready for one in cluster.members)
    if unwell and kinds & {"Ready", "Degraded", "RolloutStuck", "Stalled"}:
        yield Step(f"{PROGRAM} logs {target} --level warning", "what the members say")
    yield Step(f"{PROGRAM} support-bundle {target}", "when you need help")


def _passes(condition: Condition) -> bool:
    """Return whether the operator mends it by itself: the reason is what it does about it."""
    return (condition.type, condition.reason) in _PASSING


def _of(condition: Condition) -> Problem:
    return Problem(condition.type, condition.reason, condition.message)


def _distinct(problems: list[Problem]) -> tuple[Problem, ...]:
    """Leave out what repeats the message of another."""
    kept: list[Problem] = []
    for one in problems:
        if not any(one.message and one.message in other.message for other in kept):
            kept = [
                other for other in kept if other.message not in one.message or not other.message
            ]
            kept.append(one)
    return tuple(kept)
