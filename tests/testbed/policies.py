"""NetworkPolicies as packet filters of the nodes, for as long as a test wants them enforced.

The cluster's own network enforces none. A filter is of the moment: it knows the pods and policies
that there were when it was made, and only ingress. Policies are read as Kubernetes defines them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from testbed.addresses import IPV4, IPV6, Family
from testbed.kube import Kube
from testbed.lifecycle import Cluster
from testbed.namespaces import rule

Manifest = Mapping[str, Any]
HOOK = "type filter hook forward priority filter"
"""Behind the translation of Service addresses; what the node itself sends, as kubelets do, passes."""


@contextlib.contextmanager
def enforced(cluster: Cluster, namespace: str) -> Iterator[None]:
    """Enforce the policies of a namespace on every node, as they and the pods are now."""
    text = filters(*observed(cluster.kube, namespace))
    with rule([node.namespace for node in cluster.members()], text, hook=HOOK):
        yield


def observed(
    kube: Kube, namespace: str
) -> tuple[list[Manifest], list[Manifest], dict[str, Mapping[str, str]]]:
    """Return the policies of the namespace, the pods of all, and the labels of namespaces."""
    policies = kube.get("networkpolicies", f"--namespace={namespace}")["items"]
    pods = kube.get("pods", "--all-namespaces")["items"]
    spaces = kube.get("namespaces")["items"]
    labels = {one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in spaces}
    return policies, pods, labels


def filters(
    policies: Sequence[Manifest],
    pods: Sequence[Manifest],
    namespaces: Mapping[str, Mapping[str, str]],
) -> str:
    """Return the rules of a chain: what a policy allows is accepted, the rest of its pods dropped."""
    lines = ["ct state established,related accept"]
    drops: list[str] = []
    for family in (IPV4, IPV6):
        guarded: set[str] = set()
        for policy in policies:
            spec, home = policy["spec"], policy["metadata"]["namespace"]
            own = [one for one in pods if one["metadata"]["namespace"] == home]
            targets = _addresses(family, (one for one in own if selects(spec["podSelector"], one)))
            if not targets or "Ingress" not in spec.get("policyTypes", ["Ingress"]):
                continue
            guarded |= set(targets)
            for allowed in spec.get("ingress", []):
                sources = _sources(family, allowed.get("from", []), home, pods, namespaces)
                lines += [
                    f"{_match(family, 'daddr', targets)}{source}{port} accept"
                    for source in sources
                    for port in _ports(allowed.get("ports", []))
                ]
        if guarded:
            drops.append(f"{_match(family, 'daddr', sorted(guarded))} drop")
    return "\n".join([*lines, *drops])


def selects(selector: Manifest, labelled: Manifest) -> bool:
    """Whether a label selector selects the object; an empty one selects every object."""
    return selects_labels(selector, labelled["metadata"].get("labels", {}))


def selects_labels(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects what has these labels."""
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    return all(_fulfilled(one, labels) for one in selector.get("matchExpressions", []))


def _fulfilled(one: Manifest, labels: Mapping[str, str]) -> bool:
    there, values = labels.get(one["key"]), one.get("values", [])
    match one["operator"]:
        case "In":
            return there in values
        case "NotIn":
            return there not in values
        case "Exists":
            return there is not None
        case _:
            return there is None


def _sources(
    family: Family,
    peers: Sequence[Manifest],
    home: str,
    pods: Sequence[Manifest],
    namespaces: Mapping[str, Mapping[str, str]],
) -> list[str]:
    """Return the matches on the sender; one that matches everybody for a rule without peers."""
    if not peers:
        return [""]
    found: list[str] = []
    addresses: set[str] = set()
    for peer in peers:
        if block := peer.get("ipBlock"):
            if family.owns(block["cidr"]):
                but = "".join(f" {family.header} saddr != {one}" for one in block.get("except", []))
                found.append(f" {family.header} saddr {block['cidr']}{but}")
            continue
        inside = {home}
        if "namespaceSelector" in peer:
            wanted = peer["namespaceSelector"]
            inside = {name for name, one in namespaces.items() if selects_labels(wanted, one)}
        addresses |= set(
            _addresses(
                family,
                (
                    pod
                    for pod in pods
                    if pod["metadata"]["namespace"] in inside
                    and selects(peer.get("podSelector", {}), pod)
                ),
            )
        )
    return found + ([f" {_match(family, 'saddr', sorted(addresses))}"] if addresses else [])


def _ports(ports: Sequence[Manifest]) -> list[str]:
    """Return the matches on ports; the policies of this project name TCP ports by number."""
    return [f" tcp dport {one['port']}" for one in ports] or [""]


def _addresses(family: Family, pods: Iterator[Manifest]) -> list[str]:
    """Return the pods' own addresses of that family: pods in the node's network have none."""
    return [
        one["ip"]
        for pod in pods
        for one in pod.get("status", {}).get("podIPs", [])
        if family.owns(one["ip"]) and not pod["spec"].get("hostNetwork")
    ]


def _match(family: Family, end: str, addresses: Sequence[str]) -> str:
    return f"{family.header} {end} {{ {', '.join(addresses)} }}"
