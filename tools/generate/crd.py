"""The CustomResourceDefinition around the schema: names, columns, subresources. Pure."""

from typing import Any, TypeAlias

from amaters_operator.api.cluster import API_VERSION, GROUP, KIND, PLURAL, VERSION
from amaters_operator.api.spec import ClusterSpec
from amaters_operator.api.status import ClusterStatus

from tools.generate.schema import structural, without_defaults, without_ruled_patterns

Manifest: TypeAlias = dict[str, Any]

# Pod names must fit a DNS label of 63, and every pod also carries a revision hash of the
# StatefulSet's name in a label of 63.
LONGEST_NAME = 40


def cluster_crd() -> Manifest:
    """Return the CRD of AmatersCluster."""
    return definition(KIND, PLURAL, "amc", _version(), categories=["all"])


def definition(
    kind: str, plural: str, short: str, version: Manifest, *, categories: list[str] | None = None
) -> Manifest:
    """Return a CRD of our group with one version."""
    names: Manifest = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "shortNames": [short],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": names | ({"categories": categories} if categories else {}),
            "versions": [version],
        },
    }


def _version() -> Manifest:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": _columns(),
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "schema": {"openAPIV3Schema": _schema()},
    }


def _schema() -> Manifest:
    return {
        "type": "object",
        "description": (
            "AmatersCluster is a replicated AmateRS database: members with a volume each, which "
            "the operator runs, upgrades, backs up and scales. "
            f"Group and version: {API_VERSION}."
        ),
        "required": ["spec"],
        "properties": {
            "apiVersion": {
                "type": "string",
                "description": f"Group and version of the object: {API_VERSION}.",
            },
            "kind": {"type": "string", "description": f"Kind of the object: {KIND}."},
            # Kubernetes describes it itself, and refuses a CRD that does.
            "metadata": {"type": "object"},
            "spec": without_ruled_patterns(structural(ClusterSpec)),
            "status": without_defaults(structural(ClusterStatus)),
        },
        "x-kubernetes-validations": [
            {
                "rule": f"size(self.metadata.name) <= {LONGEST_NAME}",
                "message": f"metadata.name may have at most {LONGEST_NAME} characters: "
                "pod and Service names are made of it",
            },
            {
                "rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
                "message": "metadata.name must begin with a letter and hold only lower-case "
                "letters, digits and dashes: Services are named after it",
            },
            {
                "rule": "quantity(self.spec.storage.size).compareTo("
                "quantity(oldSelf.spec.storage.size)) >= 0 || (has(self.status) && "
                "has(self.status.volumeSize) && isQuantity(self.status.volumeSize) && "
                "quantity(self.spec.storage.size).compareTo("
                "quantity(self.status.volumeSize)) >= 0)",
                "message": "storage.size may only grow, or return to what every volume has "
                "(status.volumeSize): volumes cannot shrink",
                "fieldPath": ".spec.storage.size",
            },
            {
                "rule": "!has(self.spec.bootstrap) || !has(oldSelf.spec.bootstrap) || "
                "self.spec.bootstrap == oldSelf.spec.bootstrap || !has(self.status) || "
                "!has(self.status.bootstrap) || !has(self.status.bootstrap.restoredFrom) || "
                "self.status.bootstrap.restoredFrom == ''",
                "message": "bootstrap can be corrected until its backup is loaded; create another "
                "cluster to restore another backup",
                "fieldPath": ".spec.bootstrap",
            },
        ],
    }


def _columns() -> list[Manifest]:
    return [
        column("Ready", ".status.ready", "Ready pods of the desired ones"),
        column("Leader", ".status.leader", "Pod that leads"),
        column("Version", ".status.version", "Version of the nodes"),
        column("Status", ".status.phase", "The state in one word"),
        column("Last Backup", ".status.backup.last.completed", "Newest backup", kind="date"),
        column("Age", ".metadata.creationTimestamp", "Since creation", kind="date"),
        column("Updated", ".status.upgrade.progress", "Pods on the newest revision", wide=True),
        column("Image", ".spec.image", "Image of the spec", wide=True),
        column(
            "Message",
            ".status.conditions[?(@.type=='Ready')].message",
            "Why, and what to do",
            wide=True,
        ),
    ]


def column(
    name: str, path: str, description: str, *, kind: str = "string", wide: bool = False
) -> Manifest:
    """Return a column of `kubectl get`, or of `kubectl get -o wide`."""
    made: Manifest = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return made | ({"priority": 1} if wide else {})
