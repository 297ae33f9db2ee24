"""Collects what a support bundle holds. What cannot be read is named in it and stops nothing.

No Secret is read: the objects name those they use, and that is all a bundle says of them.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import click

from amaters_kubectl import names
from amaters_kubectl.bundle.redaction import Redaction
from amaters_kubectl.call import Call, now
from amaters_kubectl.cluster.history import history
from amaters_kubectl.cluster.verdict import judge
from amaters_kubectl.cluster.view import ClusterView, view
from amaters_kubectl.errors import PluginError
from amaters_kubectl.reading import Fields, part, parts, text
from amaters_kubectl.screens.lines import escaped
from amaters_kubectl.screens.plan_screen import plan_screen
from amaters_kubectl.screens.status_screen import status_screen

OWNED: Final = (
    "pods",
    "statefulsets",
    "services",
    "endpointslices.discovery.k8s.io",
    "configmaps",
    "persistentvolumeclaims",
    "poddisruptionbudgets.policy",
    "networkpolicies.networking.k8s.io",
    "serviceaccounts",
)
"""Kinds of the namespace that are read by the label of the cluster."""
_NODE_PARTS: Final = ("conditions", "allocatable", "capacity", "nodeInfo")
_MOST_BYTES: Final = 10 * 1024 * 1024
_COLUMNS: Final = 100


@dataclass(slots=True)
class Bundle:
    """Files by name, and what is missing."""

    files: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    redaction: Redaction = field(default_factory=Redaction)

    def text(self, name: str, said: str) -> None:
        """Add a text."""
        self.files[name] = self.redaction.text(said)

    def objects(self, name: str, found: object) -> None:
        """Add objects as JSON."""
        kept: Any = self.redaction.value(found)
        self.files[name] = escaped(json.dumps(kept, indent=2, ensure_ascii=False)) + "\n"

    def attempt(self, what: str, action: Callable[[], None]) -> None:
        """Run the action; what fails is missing, with the reason."""
        try:
            action()
        except PluginError as error:
            self.missing.append(f"{what}: {self.redaction.text(str(error))}")


def collect(call: Call, name: str, *, tail: int, progress: Callable[[str], None]) -> Bundle:
    """Return the bundle of the cluster; PluginError when the cluster itself cannot be read."""
    bundle = Bundle()
    progress("the cluster")
    source = call.kubectl.get(names.CLUSTERS, name)
    cluster = view(source)
    bundle.objects("cluster.json", source)
    _screens(bundle, cluster)
    for kind in OWNED:
        progress(kind)
        bundle.attempt(kind, partial(_owned, bundle, call, name, kind))
    progress("events")
    bundle.attempt("events", lambda: _events(bundle, call, cluster))
    progress("nodes and classes")
    bundle.attempt("nodes", lambda: _nodes(bundle, call, cluster))
    bundle.attempt("storageclasses", lambda: _listed(bundle, call, "storageclasses"))
    bundle.attempt(
        "amatersaccesses", lambda: _listed(bundle, call, f"amatersaccesses.{names.GROUP}")
    )
    bundle.attempt("version", lambda: _version(bundle, call))
    _member_logs(bundle, call, name, tail, progress)
    progress("the operator")
    bundle.attempt("operator", lambda: _operator(bundle, call, tail))
    bundle.text("README.txt", _readme(cluster, bundle))
    return bundle


def _screens(bundle: Bundle, cluster: ClusterView) -> None:
    screen = status_screen(cluster, judge(cluster), now=now(), columns=_COLUMNS)
    plan = plan_screen(cluster, columns=_COLUMNS)
    lines = [*screen, "", *plan]
    bundle.text("status.txt", click.unstyle("\n".join(lines)) + "\n")


def _owned(bundle: Bundle, call: Call, name: str, kind: str) -> None:
    found = call.kubectl.items(kind, selector=f"{names.CLUSTER_LABEL}={name}")
    bundle.objects(f"objects/{kind.partition('.')[0]}.json", found)


def _listed(bundle: Bundle, call: Call, kind: str) -> None:
    bundle.objects(f"objects/{kind.partition('.')[0]}.json", call.kubectl.items(kind))


def _events(bundle: Bundle, call: Call, cluster: ClusterView) -> None:
    found = history(cluster, call.kubectl.items("events"))
    lines = (
        f"{one.at.isoformat()}  {one.kind:<8}  {one.reason}  {one.about}  {one.message}  x{one.count}"
        for one in found
    )
    bundle.text("history.txt", "\n".join(lines) + "\n")


def _nodes(bundle: Bundle, call: Call, cluster: ClusterView) -> None:
    """Add what matters of the members' nodes: no addresses, images or labels of others."""
    used = {one.node for one in cluster.members if one.node}
    found = [
        {
            "name": text(part(one, "metadata"), "name"),
            "unschedulable": part(one, "spec").get("unschedulable", False),
            "taints": parts(part(one, "spec"), "taints"),
            **{name: part(one, "status").get(name) for name in _NODE_PARTS},
        }
        for one in call.kubectl.items("nodes")
        if text(part(one, "metadata"), "name") in used
    ]
    bundle.objects("objects/nodes.json", found)


def _version(bundle: Bundle, call: Call) -> None:
    bundle.text("version.json", call.kubectl.run("version", "--output=json"))


def _member_logs(
    bundle: Bundle, call: Call, name: str, tail: int, progress: Callable[[str], None]
) -> None:
    try:
        pods = call.kubectl.items("pods", selector=f"{names.CLUSTER_LABEL}={name}")
    except PluginError:
        return  # It is named as missing already.
    for one in pods:
        pod = text(part(one, "metadata"), "name")
        progress(f"logs of {pod}")
        _logs(bundle, call, one, f"logs/{pod}", tail)


def _logs(bundle: Bundle, call: Call, pod: Fields, place: str, tail: int, space: str = "") -> None:
    """Add the logs of all containers of a pod, and of those before their restart."""
    name = text(part(pod, "metadata"), "name")
    where = [f"--namespace={space}"] if space else []
    for container, restarts in _containers(pod):
        for suffix, more in (("", []), (".previous", ["--previous"])):
            if suffix and not restarts:
                continue
            file = f"{place}.{container}{suffix}.log"
            bounds = [f"--container={container}", f"--tail={tail}", f"--limit-bytes={_MOST_BYTES}"]
            asked = ["logs", name, *where, "--timestamps", *bounds, *more]
            bundle.attempt(file, partial(_log, bundle, call, file, asked))


def _log(bundle: Bundle, call: Call, file: str, asked: Sequence[str]) -> None:
    bundle.text(file, call.kubectl.run(*asked))


def _containers(pod: Fields) -> Iterator[tuple[str, int]]:
    status = part(pod, "status")
    restarts = {
        text(one, "name"): one.get("restartCount") or 0
        for name in ("initContainerStatuses", "containerStatuses")
        for one in parts(status, name)
    }
    for name in ("initContainers", "containers"):
        for one in parts(part(pod, "spec"), name):
            yield text(one, "name"), restarts.get(text(one, "name"), 0)


def _operator(bundle: Bundle, call: Call, tail: int) -> None:
    found = call.kubectl.items("deployments", selector=names.OPERATOR_LABEL, everywhere=True)
    bundle.objects("operator/deployments.json", found)
    pods = call.kubectl.items("pods", selector=names.OPERATOR_LABEL, everywhere=True)
    bundle.objects("operator/pods.json", pods)
    for one in pods:
        metadata = part(one, "metadata")
        space, name = text(metadata, "namespace"), text(metadata, "name")
        _logs(bundle, call, one, f"operator/logs/{space}.{name}", tail, space)


def _readme(cluster: ClusterView, bundle: Bundle) -> str:
    missing = "".join(f"  {one}\n" for one in bundle.missing) or "  nothing\n"
    return (
        f"Support bundle of AmatersCluster {cluster.namespace}/{cluster.name}.\n\n"
        "Begin with status.txt and history.txt. No Secret was read. What looked like a password, a "
        f"token or a key was masked, {bundle.redaction.count} in all. Names of objects, nodes and "
        "buckets, keys of records that were logged, and addresses are still in it: look through it "
        f"before you hand it on.\n\nMissing, and why:\n{missing}"
    )
