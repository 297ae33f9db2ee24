"""Which versions work together: who is kept out, and which members and clients a target does not fit.

Pure.

Two members of incompatible versions refuse each other, so one of them has to be believed: the one
with a leader is. Without a leader, half of the pods must name a member: the only node that answers
may be the one that is kept out.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from amaters.compatibility import OLDEST_MEMBER_MINOR, members_fit, oldest_client

from amaters_operator.decisions.observation import Incompatible, Observation, listed

REASON: Final = "IncompatibleMember"
"""Reason of a condition and of an event: a member is kept out because of its version."""

UNFIT: Final = "VersionNotCompatible"
"""Reason of an event: the target version works with no member as it is, and no pod is replaced."""

OUTGROWN: Final = "ClientsTooOld"
"""Reason of an event: clients are connected that the target version does not work with."""

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:[-+.]\S*)?")


def kept_out(observed: Observation) -> Mapping[int, Incompatible] | None:
    """Return the members that are kept out, by id; None when that is not known now."""
    led = _by_nodes_with_leader(observed)
    if led is not None:
        return led
    reports: dict[int, list[Incompatible]] = defaultdict(list)
    for _, node in sorted(observed.nodes.items()):
        for one in node.incompatible:
            reports[one.member].append(one)
    named = {member: by[0] for member, by in reports.items() if 2 * len(by) >= len(observed.pods)}
    return named or None


def certainly_kept_out(observed: Observation, pod: int) -> bool:
    """Whether nodes with a leader keep out the node of that pod.

    Without a leader it is not certain which side is wrong: acting could replace the right one.
    """
    return any(ordinal(observed, member) == pod for member in _by_nodes_with_leader(observed) or ())


def _by_nodes_with_leader(observed: Observation) -> Mapping[int, Incompatible] | None:
    judges = [node for _, node in sorted(observed.nodes.items()) if node.leader_id]
    found = [one for node in judges for one in node.incompatible]
    return {one.member: one for one in reversed(found)} if judges else None


def ordinal(observed: Observation, member: int) -> int | None:
    """Return the pod of a member, by its own report or the leader's; None when neither is known."""
    own = next((number for number, node in observed.nodes.items() if node.id == member), None)
    if own is not None:
        return own
    listed = next((one.ordinal for one in observed.members or () if one.id == member), -1)
    return listed if listed >= 0 else None


def unfit(observed: Observation, image: str) -> str:
    """Say why an image's version would be kept out by the members of now; empty when it is not.

    A version is known before its first pod runs only by the image's tag. Tags count as versions
    when those of the running pods are: exactly what their nodes report.
    """
    target, versions = _target(observed, image)
    if target is None:
        return ""
    misfits = {
        name: version
        for name, version in versions.items()
        if (known := _parsed(version)) and not members_fit(target, known)
    }
    if not misfits:
        return ""
    running = ", ".join(f"{name} runs {version}" for name, version in sorted(misfits.items()))
    return (
        f"version {_tag(image)} would be kept out by the members: {running}. Versions work together "
        f"when their major is the same and both minors are {OLDEST_MEMBER_MINOR} or above: set "
        "spec.image to one that fits, or restore a backup into a new cluster of that version"
    )


def outgrown(observed: Observation, image: str) -> str:
    """Say which clients an image's version no longer works with; empty when there are none.

    Clients that do not say their version, and nodes that do not count them, are no obstacle. Neither
    is a roll to the version that runs already: no client loses anything by it.
    """
    target, versions = _target(observed, image)
    if target is None or _tag(image).removeprefix("v") in versions.values():
        return ""
    oldest = oldest_client(target)
    connected = {one.version for node in observed.nodes.values() for one in node.clients}
    old = [one for one in connected if (known := _parsed(one)) and known < oldest]
    if not old:
        return ""
    # How many there are changes all the time, and would be a new text each time.
    return (
        f"version {_tag(image)} works with clients from {oldest[0]}.{oldest[1]} on, and clients of "
        f"{listed(sorted(old))} are connected (see `amaters-cli cluster status`): upgrade them, or "
        "set spec.upgrade.oldClients to Ignore"
    )


def _target(observed: Observation, image: str) -> tuple[tuple[int, int] | None, Mapping[str, str]]:
    """Return the version of an image, when it is known, and those of the outdated pods by name."""
    old = {pod: observed.nodes.get(pod.ordinal) for pod in observed.outdated()}
    versions = {pod.name: (node.version, _tag(pod.image)) for pod, node in old.items() if node}
    tagged = [version == tag.removeprefix("v") for version, tag in versions.values() if version]
    target = _parsed(_tag(image)) if tagged and all(tagged) else None
    return target, {name: version for name, (version, _) in versions.items()}


def _tag(image: str) -> str:
    name = image.partition("@")[0].rpartition("/")[2]
    return name.partition(":")[2]


def _parsed(version: str) -> tuple[int, int] | None:
    found = _VERSION.fullmatch(version)
    return None if found is None else (int(found[1]), int(found[2]))
