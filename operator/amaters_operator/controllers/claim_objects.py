"""Volume claims as objects of Kubernetes: read into decisions' values, and written from them."""

from datetime import datetime

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.scalars import timestamp_text
from amaters_operator.decisions.storage import volumes
from amaters_operator.decisions.storage.volumes import Claim, SetAsideData
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest

_KEPT = "kept"
"""Instead of a time: a person deletes it."""
_YEARS = range(2000, 3000)
_TROUBLES = ("ControllerResizeError", "NodeResizeError")


def read(cluster: AmatersCluster, found: Manifest) -> Claim:
    """Return the claim; what a person has spoiled in its annotations counts as not there."""
    meta, status = found["metadata"], found.get("status") or {}
    notes = meta.get("annotations") or {}
    owners = [one["uid"] for one in meta.get("ownerReferences") or []]
    mark = notes.get(names.MEMBER_ANNOTATION, "")
    # Times that a person or a backup of the claim has left say nothing of its member today.
    times = bool(mark) and notes.get(names.FORMER_MEMBER_ANNOTATION, "") == mark.rpartition("/")[2]
    return Claim(
        name=meta["name"],
        ordinal=names.ordinal(meta["name"]),
        uid=meta["uid"],
        size=found["spec"]["resources"]["requests"]["storage"],
        capacity=(status.get("capacity") or {}).get("storage", ""),
        mark=mark,
        owned=cluster.metadata.uid in owners,
        terminating="deletionTimestamp" in meta,
        since=_time(notes.get(names.SINCE_ANNOTATION, "")) if times else None,
        until=_time(notes.get(names.UNTIL_ANNOTATION, "")) if times else None,
        undelete=notes.get(names.UNDELETE_ANNOTATION, "").strip().lower() == "true",
        aside=_aside(notes.get(names.SET_ASIDE_ANNOTATION, "")),
        trouble=_trouble(status),
    )


def marked(cluster: AmatersCluster, claim: Claim) -> Manifest:
    """Return everything that the operator notes on a claim; what is left out is removed."""
    notes = {
        names.MEMBER_ANNOTATION: claim.mark,
        names.FORMER_MEMBER_ANNOTATION: "" if claim.since is None else str(claim.member),
        names.SINCE_ANNOTATION: _text(claim.since),
        names.UNTIL_ANNOTATION: _text(claim.until),
        names.SET_ASIDE_ANNOTATION: ",".join(
            f"{one.member}={_text(one.since)}/{_text(one.until) or _KEPT}" for one in claim.aside
        ),
    }
    meta: Manifest = {"name": claim.name, "namespace": cluster.namespace}
    if known := {key: value for key, value in notes.items() if value}:
        meta["annotations"] = known
    if claim.until is not None:
        meta["labels"] = {names.QUARANTINE_LABEL: "true"}
    if claim.owned:
        meta["ownerReferences"] = [names.owner(cluster)]
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta}


def grown(cluster: AmatersCluster, name: str, size: str) -> Manifest:
    """Return the claim with that size."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": cluster.namespace},
        "spec": {"resources": {"requests": {"storage": size}}},
    }


def _aside(text: str) -> tuple[SetAsideData, ...]:
    found = []
    for part in text.split(","):
        member, _, times = part.partition("=")
        begin, _, end = times.partition("/")
        since, until = _time(begin), _time(end)
        # A time that cannot be read is no leave to delete.
        if volumes.member_id(member) and since is not None:
            found.append(SetAsideData(volumes.member_id(member), since, until))
    return tuple(sorted(found, key=lambda one: one.member))


def _trouble(status: Manifest) -> str:
    conditions = status.get("conditions") or []
    failed = [one for one in conditions if one["type"] in _TROUBLES and one["status"] == "True"]
    return str(failed[0].get("message") or failed[0]["type"]) if failed else ""


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    # No volume is that old, and no arithmetic may end a pass.
    return found if found.tzinfo is not None and found.year in _YEARS else None


def _text(moment: datetime | None) -> str:
    return "" if moment is None else timestamp_text(moment)
