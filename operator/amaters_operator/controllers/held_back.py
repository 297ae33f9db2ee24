"""What keeps pods on the last good revision: its pod template and settings, by `status.canary`."""

import hashlib
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from amaters_operator.api.canary import CanaryStatus
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.decisions.actions import StartCanary
from amaters_operator.decisions.arbitration import Decision
from amaters_operator.decisions.observation import Observation
from amaters_operator.decisions.pass_result import Blocked
from amaters_operator.decisions.rolls import canary, trial, windows
from amaters_operator.decisions.rolls.trial import Stage, Wanted
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import config, names, pod_template
from amaters_operator.manifests.names import Manifest
from amaters_operator.manifests.shape import Sections, Shape

_LENGTH = 16


@dataclass(frozen=True, slots=True)
class HeldBack:
    """What the objects of a pass are made from, and the configuration files that are current."""

    shape: Shape
    wanted: Wanted
    files: frozenset[str]


def held_back(cluster: AmatersCluster, shape: Shape) -> HeldBack:
    """Return the shape, with the last good template and settings where they are to be kept."""
    template = _text(pod_template.template(cluster, shape))
    fingerprint = hashlib.sha256(template.encode()).hexdigest()[:_LENGTH]
    at = trial.stage(cluster, fingerprint, formed=shape.formed)
    record = cluster.status.canary
    good = record.good if record is not None else None
    settings = good_settings(cluster)
    kept = tables(good.template) if good is not None else None
    facts = shape.initial_members, shape.login_secrets, shape.grants
    newest = config.digests(cluster, *facts)
    files = newest
    if at is not Stage.FREE and settings is not None:
        files |= config.digests(cluster, *facts, held=settings)
    wanted = Wanted(
        fingerprint=fingerprint,
        image=cluster.spec.image,
        template=template,
        settings=_text(config.lasting(cluster, shape)),
        formed=shape.formed,
        digests=newest,
    )
    if trial.holds_template(cluster, at):
        shape = replace(shape, template=kept)
    if trial.holds_settings(cluster, at):
        shape = replace(shape, settings=settings)
    return HeldBack(shape, wanted, files)


def good_settings(cluster: AmatersCluster) -> Sections | None:
    """Return the last good settings: nodes may be kept on them, and are as current then."""
    record = cluster.status.canary
    return None if record is None or record.good is None else tables(record.good.settings)


def tables(text: str) -> Sections | None:
    """Return the tables of a JSON text; None when it holds anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_tables = isinstance(found, dict) and all(isinstance(one, dict) for one in found.values())
    return found if is_tables else None


def _is_template(found: Sections | None) -> bool:
    """Whether pods can be made of it: a status can be edited."""
    notes = ((found or {}).get("metadata") or {}).get("annotations")
    containers = ((found or {}).get("spec") or {}).get("containers")
    return isinstance(notes, dict) and names.RESTART_ANNOTATION in notes and bool(containers)


async def with_good(
    kube: KubeApi, cluster: AmatersCluster, existing: Manifest | None
) -> AmatersCluster:
    """Return the cluster with all of its last good revision, once a canary is asked for.

    That may be together with the first change. Nothing of this pass is applied yet: while the
    StatefulSet's revision is the good one, the objects say what all pods run well on.
    """
    record = cluster.status.canary
    if cluster.spec.upgrade.canary is None or record is None or record.good is None:
        return cluster
    good = record.good
    if _is_template(tables(good.template)) and tables(good.settings):
        return cluster
    held = {"template": "", "settings": ""}
    if existing is not None and good.revision == _revision(existing):
        held = await _applied(kube, cluster, existing)
    known = record.model_copy(update={"good": good.model_copy(update=held)})
    status = cluster.status.model_copy(update={"canary": known})
    return cluster.model_copy(update={"status": status})


async def _applied(kube: KubeApi, cluster: AmatersCluster, existing: Manifest) -> dict[str, str]:
    """Return template and settings as they are applied; empty texts when they are not there."""
    found = await kube.get(kinds.CONFIG_MAP, cluster.namespace, names.config_map(cluster))
    settings = file_settings(((found or {}).get("data") or {}).get(config.FILE_NAME, ""))
    template = _text(existing["spec"]["template"]) if settings else ""
    return {"template": template, "settings": settings}


def file_settings(text: str) -> str:
    """Return the settings of a configuration file that can be held back to, as JSON; or nothing."""
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError):
        return ""
    kept = config.to_hold({name: one for name, one in found.items() if isinstance(one, dict)})
    return json.dumps(kept, sort_keys=True, default=str) if kept else ""


def to_record(observed: Observation, template: Wanted, decision: Decision) -> CanaryStatus | None:
    """Return what the status has to keep after the decision."""
    judged = decision.canary
    if judged is not None and isinstance(decision.step, StartCanary):
        return canary.started(judged, observed, template)
    return None if judged is None else judged.record


def refused_spec(cluster: AmatersCluster, decision: Decision) -> Iterator[Blocked]:
    """Name what the spec asks for and does not get."""
    if decision.canary and decision.canary.stage is Stage.REFUSED:
        yield Blocked(canary.REASON, canary.refusal(cluster, decision.canary.record))
    if decision.consent and (problem := decision.consent.windows.problem):
        yield Blocked(windows.INVALID, problem)


def _revision(statefulset: Manifest) -> str:
    state = statefulset.get("status") or {}
    processed = state.get("observedGeneration") == statefulset["metadata"].get("generation")
    return str(state.get("updateRevision", "")) if processed else ""


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
