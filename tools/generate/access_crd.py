"""The CustomResourceDefinition of AmatersAccess. Pure."""

from amaters_operator.api.access import (
    ACCESS_KIND,
    ACCESS_PLURAL,
    LONGEST_NAME,
    AccessSpec,
    AccessStatus,
)
from amaters_operator.api.cluster import API_VERSION, VERSION

from tools.generate.crd import Manifest, column, definition
from tools.generate.schema import structural, without_defaults, without_ruled_patterns


def access_crd() -> Manifest:
    """Return the CRD of AmatersAccess."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": _columns(),
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": _schema()},
    }
    return definition(ACCESS_KIND, ACCESS_PLURAL, "ama", version)


def _schema() -> Manifest:
    return {
        "type": "object",
        "description": (
            "AmatersAccess gives ServiceAccounts or a user rights in an AmatersCluster of its "
            f"namespace. Group and version: {API_VERSION}."
        ),
        "required": ["spec"],
        "properties": {
            "apiVersion": {
                "type": "string",
                "description": f"Group and version of the object: {API_VERSION}.",
            },
            "kind": {"type": "string", "description": f"Kind of the object: {ACCESS_KIND}."},
            "metadata": {"type": "object"},
            "spec": without_ruled_patterns(structural(AccessSpec)),
            "status": without_defaults(structural(AccessStatus)),
        },
        "x-kubernetes-validations": [
            {
                "rule": f"size(self.metadata.name) <= {LONGEST_NAME}",
                "message": f"metadata.name may have at most {LONGEST_NAME} characters: "
                "a label and the Secret of a user are made of it",
            },
        ],
    }


def _columns() -> list[Manifest]:
    ready = ".status.conditions[?(@.type=='Ready')]"
    return [
        column("Who", ".status.who", "The user, or the ServiceAccounts"),
        column("Cluster", ".spec.clusterName", "The AmatersCluster"),
        column("Ready", f"{ready}.status", "Whether every node has loaded the rights"),
        column("Reason", f"{ready}.reason", "Why, in one word"),
        column("Secret", ".status.secretName", "Secret with the user's key"),
        column("Renews", ".status.renewsAt", "When the key is replaced"),
        column("Age", ".metadata.creationTimestamp", "Since creation", kind="date"),
        column("Collections", ".spec.collections", "Where the rights are", wide=True),
        column("Verbs", ".spec.verbs", "What the rights are", wide=True),
        column("Message", f"{ready}.message", "Why, and what to do", wide=True),
    ]
