"""What the operator tells people: events and the status. Telling never stops the work."""

import logging
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from amaters_operator.api.cluster import API_VERSION, KIND, AmatersCluster
from amaters_operator.api.conditions import Condition, ConditionType, settle
from amaters_operator.api.status import BackupStatus, ClusterStatus, Phase, RestoreStatus
from amaters_operator.decisions.status.conditions import INCOMPATIBLE
from amaters_operator.kube import events, kinds
from amaters_operator.kube.errors import KubeError
from amaters_operator.kube.port import MANAGER, KubeApi
from amaters_operator.manifests.names import Manifest

BACKUP_MANAGER = f"{MANAGER}-backup"
"""Writes status.backup and nothing else, so that a long backup never holds up the rest."""

RESTORE_MANAGER = f"{MANAGER}-restore"
"""Writes status.restore and nothing else, so that a long load never holds up the rest."""

Severity = Literal["Normal", "Warning"]

_RECOGNISED = 200
"""Of a note: so much tells it from every other, and no condition cuts it off."""

_NUMBER = re.compile(r"\d+")

_log = logging.getLogger(__name__)
_BAD = {
    (ConditionType.READY, "False"),
    (ConditionType.DEGRADED, "True"),
    (ConditionType.ROLLOUT_STUCK, "True"),
    (ConditionType.STALLED, "True"),
}
"""Answers that make their event a warning."""


@dataclass(frozen=True, slots=True)
class Reporter:
    """Writes events and status of clusters, as one operator instance."""

    kube: KubeApi
    instance: str

    async def event(
        self,
        cluster: AmatersCluster,
        reason: str,
        note: str,
        *,
        kind: Severity = "Normal",
    ) -> None:
        """Record an event, unless the same was said lately: a pass may well repeat itself."""
        await self._record(cluster, reason, note, kind, quiet=events.REPEAT_AFTER)

    async def state(self, cluster: AmatersCluster, reason: str, note: str) -> None:
        """Record an event about a state, once: the conditions have said it since then."""
        said = [one.message for one in cluster.status.conditions]
        if note and not any(note[:_RECOGNISED] in message for message in said):
            await self._record_always(cluster, reason, note, kind="Warning")

    async def _record_always(
        self, cluster: AmatersCluster, reason: str, note: str, *, kind: Severity
    ) -> None:
        """Record an event of which the status shows that it is news, however often it returns."""
        await self._record(cluster, reason, note, kind, quiet=timedelta(0))

    async def _record(
        self, cluster: AmatersCluster, reason: str, note: str, kind: Severity, *, quiet: timedelta
    ) -> None:
        """Record an event; one that cannot be recorded is logged and forgotten."""
        about = {"cluster": cluster.key, "reason": reason, "note": note}
        try:
            now = self.kube.now()
            made = events.event(
                cluster, reason=reason, note=note, now=now, instance=self.instance, kind=kind
            )
            name = made["metadata"]["name"]
            existing = await self.kube.get(kinds.EVENT, cluster.namespace, name)
            reported = events.due(made, existing, now, quiet=quiet)
            if reported is not None:
                _log.info("cluster.event", extra=about)
                await self.kube.apply(reported)
        except KubeError as error:
            _log.warning("event.lost", extra=about | {"error": str(error)})

    async def status(self, cluster: AmatersCluster, status: ClusterStatus) -> None:
        """Write the status, but for backups and restore, if it says anything new."""
        # An answer that stays keeps its time: else each look would be a write, and wake the next.
        conditions = settle(status.conditions, cluster.status.conditions)
        status = status.model_copy(update={"conditions": conditions})
        new, old = (_written(one) for one in (status, cluster.status))
        if new == old:
            return
        # First the status: events about its changes must not repeat because it cannot be written.
        await self.kube.apply(_manifest(cluster, new), status=True)
        for condition in _changed(cluster.status, status):
            kind: Severity = "Warning" if (condition.type, condition.status) in _BAD else "Normal"
            await self._record_always(cluster, condition.reason, condition.message, kind=kind)
        for note in _kept_out(cluster.status, status):
            await self._record_always(cluster, INCOMPATIBLE, note, kind="Warning")

    async def backup(self, cluster: AmatersCluster, status: BackupStatus) -> None:
        """Write status.backup, if it says anything new."""
        made = _part(status)
        if made != _part(cluster.status.backup):
            manifest = _manifest(cluster, {"backup": made})
            await self.kube.apply(manifest, manager=BACKUP_MANAGER, status=True)

    async def restore(self, cluster: AmatersCluster, status: RestoreStatus) -> None:
        """Write status.restore, if it says anything new."""
        made = _part(status)
        if made != _part(cluster.status.restore):
            manifest = _manifest(cluster, {"restore": made})
            await self.kube.apply(manifest, manager=RESTORE_MANAGER, status=True)


def _written(status: ClusterStatus) -> Manifest:
    made = status.model_dump(
        by_alias=True, mode="json", exclude={"backup", "restore", "conditions"}
    )
    conditions = status.model_dump(by_alias=True, mode="json", include={"conditions"})
    return {**_known(made), **conditions}  # Kubernetes wants every field of a condition.


def _part(status: BackupStatus | RestoreStatus | None) -> Manifest | None:
    return None if status is None else _known(status.model_dump(by_alias=True, mode="json"))


def _known(part: Manifest) -> Manifest:
    """Leave out what is not known: a person reading the status should see only answers."""
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
    """Return the conditions worth an event: their answer is another than before.

    First answers tell nothing, steps are told as they are made, and a member that is missing
    because it is being replaced is no news. Who is kept out for its version is told one by one.
    What a person has to do is told whenever it is something else.
    """
    quiet = {ConditionType.RECONCILING, ConditionType.STALLED, ConditionType.BACKUP_SUCCEEDED}
    if Phase.UPGRADING in (before.phase, after.phase):
        quiet.add(ConditionType.DEGRADED)
    known = {one.type: one.status for one in before.conditions if one.type not in quiet}
    flipped = [one for one in after.conditions if known.get(one.type, one.status) != one.status]
    # The same reason is told once, by the first condition that has it.
    reported = {one.reason: one for one in reversed((*flipped, *_stalled(before, after)))}
    return [one for one in reversed(reported.values()) if one.reason != INCOMPATIBLE]


def _stalled(before: ClusterStatus, after: ClusterStatus) -> list[Condition]:
    """Return what a person has to do, unless that was told already; counted seconds are no news."""
    said = {_without_numbers(one) for one in before.conditions if one.type == ConditionType.STALLED}
    now = [one for one in after.conditions if one.type == ConditionType.STALLED]
    return [one for one in now if one.status == "True" and _without_numbers(one) not in said]


def _without_numbers(condition: Condition) -> tuple[str, str]:
    return condition.reason, _NUMBER.sub("", condition.message)


def _kept_out(before: ClusterStatus, after: ClusterStatus) -> list[str]:
    """Return what to tell of members that were not kept out before, or not for that version."""
    known = {one.pod: one.incompatible for one in before.members}
    why = next((one.message for one in after.conditions if one.reason == INCOMPATIBLE), "")
    return [
        f"{one.pod} runs {one.incompatible}, which cannot work with the others. {why}"
        for one in after.members
        if one.incompatible and one.incompatible != known.get(one.pod)
    ]
