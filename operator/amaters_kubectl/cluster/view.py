"""An AmatersCluster as people look at it, whatever version of the operator wrote it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from amaters_kubectl import names
from amaters_kubectl.reading import Fields, flag, moment, number, part, parts, text, texts


@dataclass(frozen=True, slots=True)
class Member:
    """One member."""

    pod: str
    role: str = ""
    ready: bool = False
    updated: bool = False
    node: str = ""
    version: str = ""
    lag: int | None = None
    incompatible: str = ""
    disk: int | None = None
    """Percent used."""
    refuses: bool = False
    """Its disk is so full that it refuses writes."""
    fenced: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: datetime | None = None
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class PendingAction:
    """A disruptive action that waits."""

    pod: str
    action: str
    reason: str
    margin: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A volume claim that is kept although its member is gone."""

    claim: str
    member: str = ""
    since: datetime | None = None
    until: datetime | None = None
    """When it is deleted; None: it is kept until a person deletes it."""
    set_aside: bool = False
    """Another member uses the volume, and this data lies beside its own."""


@dataclass(frozen=True, slots=True)
class Absent:
    """A member that the leader has no contact with."""

    member: str
    pod: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Backup:
    """The newest backup."""

    uri: str = ""
    completed: datetime | None = None
    next: datetime | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The object, read with tolerance: what an operator does not report is empty."""

    name: str
    namespace: str
    generation: int
    observed_generation: int
    resource_version: str
    annotations: Mapping[str, str]
    spec: Fields
    status: Fields
    members: tuple[Member, ...]
    conditions: Mapping[str, Condition]
    pending: tuple[PendingAction, ...]
    quarantine: tuple[Quarantined, ...]
    absent: tuple[Absent, ...]
    backup: Backup

    @property
    def phase(self) -> str:
        """The state in one word; Unknown before the operator has seen the object."""
        return text(self.status, "phase") or "Unknown"

    @property
    def desired(self) -> int:
        """Members that the spec asks for."""
        return number(self.spec, "replicas") or 3

    @property
    def ready(self) -> int:
        """Pods that are ready."""
        return number(self.status, "readyReplicas") or 0

    @property
    def leader(self) -> str:
        """Pod that leads; empty while none is known."""
        return text(self.status, "leader")

    @property
    def version(self) -> str:
        """Version or versions of the nodes."""
        return text(self.status, "version")

    @property
    def plan(self) -> str:
        """Hash of the pending actions; approving it approves exactly these."""
        return text(self.status, "plan")

    @property
    def paused(self) -> bool:
        """Whether the spec holds the operator back."""
        return flag(self.spec, "paused")

    @property
    def hibernating(self) -> bool:
        """Whether the spec asks for no pods."""
        return flag(self.spec, "hibernate")

    @property
    def manual(self) -> bool:
        """Whether disruptive actions wait for approval."""
        return text(part(self.spec, "upgrade"), "approval") == "Manual"

    @property
    def unapproved(self) -> bool:
        """Whether a plan waits for a person."""
        required = self.conditions.get("ApprovalRequired")
        if required is not None:
            return required.status == "True"
        approved = self.annotations.get(names.APPROVE)
        return self.manual and bool(self.pending) and approved != self.plan

    @property
    def seen(self) -> bool:
        """Whether the status is about the present spec."""
        return self.observed_generation >= self.generation

    def says(self, kind: str, status: str = "True") -> bool:
        """Return whether there is such a condition with that status."""
        found = self.conditions.get(kind)
        return found is not None and found.status == status

    def member(self, pod: str) -> Member | None:
        """Return the member of that pod."""
        return next((one for one in self.members if one.pod == pod), None)


def view(source: Fields) -> ClusterView:
    """Return the object as people look at it."""
    metadata, spec, status = part(source, "metadata"), part(source, "spec"), part(source, "status")
    annotations = part(metadata, "annotations")
    return ClusterView(
        name=text(metadata, "name"),
        namespace=text(metadata, "namespace"),
        generation=number(metadata, "generation") or 0,
        observed_generation=number(status, "observedGeneration") or 0,
        resource_version=text(metadata, "resourceVersion"),
        annotations={name: text(annotations, name) for name in annotations},
        spec=spec,
        status=status,
        members=_members(text(metadata, "name"), annotations, status),
        conditions={one.type: one for one in map(_condition, parts(status, "conditions"))},
        pending=tuple(_pending(one) for one in parts(status, "pendingActions")),
        quarantine=tuple(_quarantined(one) for one in parts(status, "quarantine")),
        absent=tuple(
            Absent(text(one, "member"), text(one, "pod"), moment(one, "since"))
            for one in parts(status, "absent")
        ),
        backup=_backup(part(status, "backup")),
    )


def fenced_pods(wanted: str) -> tuple[str, ...]:
    """Return what the annotation names: pods, or `*` for all."""
    return tuple(dict.fromkeys(one for one in wanted.replace(",", " ").split() if one))


def _members(name: str, annotations: Fields, status: Fields) -> tuple[Member, ...]:
    usage = {text(one, "pod"): one for one in parts(status, "storage")}
    fenced = set(texts(status, "fenced")) or set(fenced_pods(text(annotations, names.FENCED)))
    found = [
        Member(
            pod=text(one, "pod"),
            role=text(one, "role"),
            ready=flag(one, "ready"),
            updated=flag(one, "updated"),
            node=text(one, "node"),
            version=text(one, "version"),
            lag=number(one, "lagEntries"),
            incompatible=text(one, "incompatible"),
            disk=number(part(usage, text(one, "pod")), "percent"),
            refuses=bool(text(part(usage, text(one, "pod")), "writes")),
            fenced=bool(fenced & {"*", text(one, "pod")}),
        )
        for one in parts(status, "members")
    ]
    return tuple(sorted(found, key=lambda one: _ordinal(name, one.pod)))


def _ordinal(name: str, pod: str) -> tuple[int, str]:
    rest = pod.removeprefix(f"{name}-")
    return (int(rest) if rest.isdecimal() and len(rest) < 10 else -1, pod)  # noqa: PLR2004


def _condition(source: Fields) -> Condition:
    return Condition(
        type=text(source, "type"),
        status=text(source, "status"),
        reason=text(source, "reason"),
        message=text(source, "message"),
        since=moment(source, "lastTransitionTime"),
        generation=number(source, "observedGeneration"),
    )


def _pending(source: Fields) -> PendingAction:
    pod, action = text(source, "pod"), text(source, "action")
    margin, said = part(source, "margin"), text(source, "margin")
    before, needed, after = (number(margin, one) for one in ("before", "needed", "after"))
    if None not in (before, needed, after):
        said = f"{after} of {before} stay, {needed} needed"
    return PendingAction(pod, action, text(source, "reason"), said)


def _quarantined(source: Fields) -> Quarantined:
    return Quarantined(
        claim=text(source, "claim"),
        member=text(source, "member"),
        since=moment(source, "since"),
        until=moment(source, "until"),
        set_aside=flag(source, "setAside"),
    )


def _backup(source: Fields) -> Backup:
    last = part(source, "last")
    return Backup(
        uri=text(last, "uri"),
        completed=moment(last, "completed"),
        next=moment(source, "next"),
        failure=text(source, "failure"),
    )
