"""Names that operator and plugin share. A test holds them against the operator's."""

from typing import Final

GROUP: Final = "amaters.io"
CLUSTERS: Final = f"amatersclusters.{GROUP}"
KIND: Final = "AmatersCluster"
CLUSTER_LABEL: Final = f"{GROUP}/cluster"
CONTAINER: Final = "amaters"
"""The container of a member's pod that logs."""
OPERATOR_LABEL: Final = "app.kubernetes.io/name=amaters-operator"

APPROVE: Final = f"{GROUP}/approve"
TRANSFER: Final = f"{GROUP}/transfer"
RESTART: Final = f"{GROUP}/restart"
FENCED: Final = f"{GROUP}/fenced"
UNDELETE: Final = f"{GROUP}/undelete"

FIELD_MANAGER: Final = "kubectl-amaters"
"""Whose changes these are, in `metadata.managedFields`."""
PROGRAM: Final = "kubectl amaters"
