"""The AmatersCluster as an object of the Kubernetes API."""

from pydantic import Field

from amaters_operator.api.scalars import ApiModel, Timestamp
from amaters_operator.api.spec import ClusterSpec
from amaters_operator.api.status import ClusterStatus

GROUP = "amaters.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "AmatersCluster"
PLURAL = "amatersclusters"

BACKUP_ANNOTATION = f"{GROUP}/backup"
APPROVE_ANNOTATION = f"{GROUP}/approve"
"""The plan, by its hash, that a person approves."""
RESTART_ANNOTATION = f"{GROUP}/restart"
"""A token: another one rolls all pods."""


class Metadata(ApiModel):
    """The parts of Kubernetes' object metadata that the operator reads."""

    name: str
    namespace: str
    uid: str
    generation: int = 1
    resource_version: str = ""
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    labels: dict[str, str] = Field(default={})
    annotations: dict[str, str] = Field(default={})


class AmatersCluster(ApiModel):
    """A replicated AmateRS database: the desired state (`spec`) and the observed one (`status`)."""

    metadata: Metadata
    spec: ClusterSpec
    status: ClusterStatus = Field(default=ClusterStatus())

    @property
    def name(self) -> str:
        """Name of the cluster, and of most of what belongs to it."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """Namespace of the cluster and of everything that belongs to it."""
        return self.metadata.namespace

    @property
    def key(self) -> str:
        """`namespace/name`, as logs and work queues name it."""
        return f"{self.namespace}/{self.name}"
