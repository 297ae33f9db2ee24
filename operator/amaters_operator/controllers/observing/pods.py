"""From a Pod's manifest to the values that decisions use. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from amaters_operator.api.status import MemberStatus
from amaters_operator.decisions.observation import Cause, Pod
from amaters_operator.manifests import names
from amaters_operator.manifests.names import Manifest

_REVISION_LABEL = "controller-revision-hash"
_LONGEST_PROBLEM = 300
_CRASHES_TO_REPORT = 2

# What the kubelet reports of a container that is starting.
_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})
_IMAGES = ("Image", "Registry", "Signature")
_CRASHED = frozenset({"CrashLoopBackOff", "RunContainerError"})

_AFTER_AN_END = frozenset({"", *_CRASHED})

DAMAGED_EXIT_CODE = 65
"""Of a server whose stored data is damaged or incomplete; its text says what."""

_Problem = tuple[Cause, str]


def observed(
    manifests: Iterable[Manifest], *, owner: str, known: Iterable[MemberStatus], now: datetime
) -> tuple[Pod, ...]:
    """Return the pods that the StatefulSet of that uid owns, by ordinal.

    `known` is what the status says of them: since when each is ready or not.
    """
    before = {one.pod: one for one in known}
    owned = [one for one in manifests if _owned(one, owner)]
    pods = [_pod(one, before.get(one["metadata"]["name"]), now) for one in owned]
    return tuple(sorted(pods, key=lambda pod: pod.ordinal))


def _owned(manifest: Manifest, owner: str) -> bool:
    references = manifest["metadata"].get("ownerReferences") or []
    return any(reference["uid"] == owner for reference in references)


def _pod(manifest: Manifest, before: MemberStatus | None, now: datetime) -> Pod:
    meta, spec = manifest["metadata"], manifest["spec"]
    status = manifest.get("status") or {}
    condition = _condition(status, "Ready")
    is_ready = condition.get("status") == "True"
    ready = is_ready and "deletionTimestamp" not in meta
    transition = f"{meta['uid']} {condition.get('lastTransitionTime', '')}".rstrip()
    since = _since(manifest, transition, before, ready=ready) or now.replace(microsecond=0)
    cause, problem = (Cause.NONE, "") if is_ready else next(_problems(status), (Cause.NONE, ""))
    return Pod(
        name=meta["name"],
        ordinal=names.ordinal(meta["name"]),
        uid=meta["uid"],
        revision=(meta.get("labels") or {}).get(_REVISION_LABEL, ""),
        restart_hash=(meta.get("annotations") or {}).get(names.RESTART_ANNOTATION, ""),
        image=spec["containers"][0].get("image", ""),
        ready=ready,
        ready_since=since if ready else None,
        unready_since=None if ready else since,
        transition=transition,
        terminating="deletionTimestamp" in meta,
        node=spec.get("nodeName", ""),
        ip=status.get("podIP", ""),
        problem=problem[:_LONGEST_PROBLEM],
        cause=cause,
        due=_time(meta.get("deletionTimestamp")),
        finalizers=tuple(meta.get("finalizers") or ()),
        restarts=sum(one.get("restartCount", 0) for one in status.get("containerStatuses") or []),
        forsaken=_is_forsaken(spec, status),
    )


def _is_forsaken(spec: Manifest, status: Manifest) -> bool:
    """Whether the controller of nodes has marked the pod not ready, because its kubelet is silent.

    It writes this one condition and leaves what the kubelet said of the containers.
    """
    if status.get("phase") == "Unknown" or _condition(status, "Ready").get("status") == "Unknown":
        return True
    states = [_condition(status, one).get("status") for one in ("Ready", "ContainersReady")]
    return states == ["False", "True"] and not spec.get("readinessGates")


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _condition(status: Manifest, question: str) -> Manifest:
    conditions: list[Manifest] = status.get("conditions") or []
    return next((one for one in conditions if one["type"] == question), {})


def _since(
    pod: Manifest, transition: str, before: MemberStatus | None, *, ready: bool
) -> datetime | None:
    """Return since when a pod is ready or not, if the status has it.

    Never by the clock of its machine: that time is only compared with itself, and as long as it
    stays the same, the recorded one stays. An earlier version, or an earlier
    CustomResourceDefinition, recorded nothing: then it is since the pod was created.
    """
    if before is None or before.ready != ready:
        return None
    if before.since is None:
        return _time(pod["metadata"].get("creationTimestamp"))
    return before.since if before.transition == transition else None


def _problems(status: Manifest) -> Iterator[_Problem]:
    """Say why the pod cannot run, in the texts of kubelet and scheduler, most specific first."""
    if status.get("phase") == "Failed":
        why = f"{status.get('reason') or 'Failed'}: {status.get('message') or 'no message'}"
        yield Cause.ENDED, why
    scheduled = _condition(status, "PodScheduled")
    # Errors of the scheduler itself have other reasons and pass by themselves.
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        yield Cause.UNSCHEDULABLE, f"Unschedulable: {scheduled.get('message', '')}"
    for container in status.get("containerStatuses") or []:
        yield from _container_problems(container)


def _container_problems(container: Manifest) -> Iterator[_Problem]:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason = waiting.get("reason", "")
    ended = (container.get("lastState") or {}).get("terminated") or {}
    crashed = ""
    if ended:
        message = _last_words(ended.get("message") or "")
        crashed = f"the last run ended with code {ended.get('exitCode')} ({ended.get('reason')})"
        crashed += f": {message}" if message else ""
    if ended.get("exitCode") == DAMAGED_EXIT_CODE and reason in _AFTER_AN_END:
        yield Cause.DAMAGED, f"DiskDamaged: {crashed}"
    if reason not in _STARTING:
        detail = crashed if reason == "CrashLoopBackOff" else waiting.get("message", "")
        yield _cause(reason), f"{reason}: {detail}".rstrip(": ")
    if container.get("restartCount", 0) >= _CRASHES_TO_REPORT and ended.get("exitCode"):
        yield Cause.CRASH, f"crashed {container['restartCount']} times, {crashed}"


def _cause(reason: str) -> Cause:
    """Return the kind of what the kubelet reports of a waiting container."""
    if reason in _CRASHED:
        return Cause.CRASH
    return Cause.IMAGE if any(one in reason for one in _IMAGES) else Cause.CONFIGURATION


def _last_words(log: str) -> str:
    """Return a container's last output on one line; of a traceback, the error itself."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1] if "Traceback (most recent call last):" in lines else " ".join(lines)
