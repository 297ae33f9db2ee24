"""What the operator reports to people: events and the status."""

import logging
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from amaters_operator.api.access import AmatersAccess
from amaters_operator.api.cluster import API_VERSION, KIND, AmatersCluster
from amaters_operator.api.conditions import Condition, ConditionType, settle
from amaters_operator.api.scalars import ApiModel
from amaters_operator.api.status import BackupStatus, ClusterStatus, Phase, RestoreStatus
from amaters_operator.decisions.membership.transfer import Transfer
from amaters_operator.decisions.pass_result import PassResult
from amaters_operator.decisions.rolls import compatibility, disruption_budgets
from amaters_operator.decisions.status import consent_status
from amaters_operator.kube import events, kinds
from amaters_operator.kube.errors import KubeError
from amaters_operator.kube.port import MANAGER, KubeApi
from amaters_operator.manifests.names import Manifest

Severity = Literal["Normal", "Warning"]

_RECOGNISED = 200
"""Of a note: enough to recognise it in a condition, which may be cut off."""

_NEVER = timedelta(0)
"""How long an event is not repeated that the status proves to be new."""

_NUMBER = re.compile(r"\d+")

_log = logging.getLogger(__name__)
_BAD = {
    (ConditionType.READY, "False"),
    (ConditionType.DEGRADED, "True"),
    (ConditionType.ROLLOUT_STUCK, "True"),
    (ConditionType.ROLLED_BACK, "True"),
    (ConditionType.STALLED, "True"),
    (ConditionType.DISK_PRESSURE, "True"),
}
"""Conditions whose event is a warning."""


@dataclass(frozen=True, slots=True)
class Reporter:
    """Writes events and status of clusters, as one operator instance."""

    kube: KubeApi
    instance: str

    async def event(
        self,
        about: AmatersCluster | AmatersAccess,
        reason: str,
        note: str,
        *,
        kind: Severity = "Normal",
    ) -> None:
        """Record an event, unless the same one was recorded recently: passes repeat themselves."""
        await self._record(about, reason, note, kind, quiet=events.REPEAT_AFTER)

    async def state(self, cluster: AmatersCluster, reason: str, note: str) -> None:
        """Record a warning about a state once: from then on the conditions say it."""
        reported = [one.message for one in cluster.status.conditions]
        if note and not any(note[:_RECOGNISED] in message for message in reported):
            await self._record(cluster, reason, note, "Warning", quiet=_NEVER)

    async def states(self, cluster: AmatersCluster, result: PassResult) -> None:
        """Report what waits, and budgets that stand in the way, as events that do not repeat."""
        for wait in result.decision.deferred:
            await self.state(cluster, wait.reason, wait.because)
        for note in result.notes:
            await self.state(cluster, disruption_budgets.TWO, note)

    async def transfer(self, cluster: AmatersCluster, asked: Transfer) -> None:
        """Report once how a transfer that was asked for has ended."""
        if asked.status is None or asked.status == cluster.status.transfer:
            return
        reason = "TransferRefused" if asked.refused else "Transferred"
        kind: Severity = "Warning" if asked.refused else "Normal"
        await self.event(cluster, reason, asked.status.message, kind=kind)

    async def _record(
        self,
        subject: AmatersCluster | AmatersAccess,
        reason: str,
        note: str,
        kind: Severity,
        *,
        quiet: timedelta,
    ) -> None:
        """Record an event; one that cannot be recorded is only logged."""
        about = {_named(subject): subject.key, "reason": reason, "note": note}
        try:
            now = self.kube.now()
            made = events.event(
                subject, reason=reason, note=note, now=now, instance=self.instance, kind=kind
            )
            name = made["metadata"]["name"]
            existing = await self.kube.get(kinds.EVENT, subject.namespace, name)
            found = events.due(made, existing, now, quiet=quiet)
            if found is None:
                return
            _log.info("cluster.event", extra=about)
            if existing is not None or await self._has_room(made):
                await self.kube.apply(found)
                return
            text = (
                f"more than {events.MOST_AN_HOUR} {kind} events about this object within an hour: "
                "further ones are in the operator's log alone. The conditions say what is the matter"
            )
            await self._record(subject, events.TOO_MANY, text, kind, quiet=events.REPEAT_AFTER)
        except KubeError as error:
            _log.warning("event.lost", extra=about | {"error": str(error)})

    async def _has_room(self, made: Manifest) -> bool:
        """Whether another event may be recorded; asked only before a new one."""
        if made["reason"] == events.TOO_MANY:
            return True
        namespace, fields = made["metadata"]["namespace"], events.alike(made)
        alike = await self.kube.find(kinds.EVENT, namespace, labels={}, fields=fields)
        return events.has_room(alike, self.kube.now())

    async def status(self, cluster: AmatersCluster, status: ClusterStatus) -> None:
        """Write the status without backup and restore, if it says anything new."""
        # An unchanged condition keeps its time: else each pass would write, and wake the next.
        conditions = settle(status.conditions, cluster.status.conditions)
        status = status.model_copy(update={"conditions": conditions})
        new, old = (_written(one) for one in (status, cluster.status))
        if new == old:
            return
        # The status first: if it cannot be written, events about its changes must not repeat.
        await self.kube.apply(_manifest(cluster, new), status=True)
        for condition in _changed(cluster.status, status):
            kind: Severity = "Warning" if (condition.type, condition.status) in _BAD else "Normal"
            await self._record(cluster, condition.reason, condition.message, kind, quiet=_NEVER)
        if note := consent_status.not_a_plan(cluster.status, status):
            await self._record(cluster, "ApprovalIgnored", note, "Warning", quiet=_NEVER)
        for note in _kept_out(cluster.status, status):
            await self._record(cluster, compatibility.REASON, note, "Warning", quiet=_NEVER)

    async def backup(self, cluster: AmatersCluster, status: BackupStatus) -> None:
        """Write status.backup, if it says anything new."""
        await self._write_part(cluster, "backup", status, cluster.status.backup)

    async def restore(self, cluster: AmatersCluster, status: RestoreStatus) -> None:
        """Write status.restore, if it says anything new."""
        await self._write_part(cluster, "restore", status, cluster.status.restore)

    async def _write_part(
        self, cluster: AmatersCluster, name: str, status: ApiModel, before: ApiModel | None
    ) -> None:
        """Write one field of the status by its own manager, so that it never holds up the rest."""
        made = _part(status)
        if before is None or made != _part(before):
            manifest = _manifest(cluster, {name: made})
            await self.kube.apply(manifest, manager=f"{MANAGER}-{name}", status=True)


def _named(subject: AmatersCluster | AmatersAccess) -> str:
    """Return how a line of the log names the object."""
    return "cluster" if isinstance(subject, AmatersCluster) else "access"


def _written(status: ClusterStatus) -> Manifest:
    made = status.model_dump(
        by_alias=True, mode="json", exclude={"backup", "restore", "conditions"}
    )
    conditions = status.model_dump(by_alias=True, mode="json", include={"conditions"})
    return {**_known(made), **conditions}  # Kubernetes requires every field of a condition.


def _part(status: ApiModel) -> Manifest:
    return _known(status.model_dump(by_alias=True, mode="json"))


def _known(part: Manifest) -> Manifest:
    """Leave out what is not known: the status shows only what is."""
    return {key: _known_value(one) for key, one in part.items() if one not in (None, "", [])}


def _known_value(value: object) -> object:
    if isinstance(value, dict):
        return _known(value)
    return [_known_value(one) for one in value] if isinstance(value, list) else value


def _manifest(cluster: AmatersCluster, status: Manifest) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": cluster.name, "namespace": cluster.namespace},
        "status": status,
    }


def _changed(before: ClusterStatus, after: ClusterStatus) -> list[Condition]:
    """Return the conditions that get an event, because their status has changed.

    A first status is not reported, actions have events of their own, and a member that is missing
    because a roll replaces it is expected. Members that are kept out get an event each. What a
    person has to do is reported whenever it changes.
    """
    quiet = {ConditionType.RECONCILING, ConditionType.STALLED, ConditionType.BACKUP_SUCCEEDED}
    if Phase.UPGRADING in (before.phase, after.phase):
        quiet.add(ConditionType.DEGRADED)
    known = {one.type: one.status for one in before.conditions if one.type not in quiet}
    flipped = [one for one in after.conditions if known.get(one.type, one.status) != one.status]
    # The first condition with a reason reports it.
    found = {one.reason: one for one in reversed((*flipped, *_stalled(before, after)))}
    return [one for one in reversed(found.values()) if one.reason != compatibility.REASON]


def _stalled(before: ClusterStatus, after: ClusterStatus) -> list[Condition]:
    """Return what a person has to do, unless that was reported; other seconds do not count."""
    reported = {
        _without_numbers(one) for one in before.conditions if one.type == ConditionType.STALLED
    }
    now = [one for one in after.conditions if one.type == ConditionType.STALLED]
    return [one for one in now if one.status == "True" and _without_numbers(one) not in reported]


def _without_numbers(condition: Condition) -> tuple[str, str]:
    return condition.reason, _NUMBER.sub("", condition.message)


def _kept_out(before: ClusterStatus, after: ClusterStatus) -> list[str]:
    """Return a note for each member that was not kept out before, or not for that version."""
    known = {one.pod: one.incompatible for one in before.members}
    why = next((one.message for one in after.conditions if one.reason == compatibility.REASON), "")
    return [
        f"{one.pod} runs {one.incompatible}, which cannot work with the others. {why}"
        for one in after.members
        if one.incompatible and one.incompatible != known.get(one.pod)
    ]
