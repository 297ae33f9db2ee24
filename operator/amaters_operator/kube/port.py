"""What the operator needs of the Kubernetes API. `client` and the test kit implement it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from amaters_operator.kube.kinds import Kind
from amaters_operator.manifests.names import Manifest

MANAGER = "amaters-operator"
"""The field manager of what the operator applies, unless another one is named."""


class KubeApi(Protocol):
    """The Kubernetes API. Reads are never stale; every failure is a `KubeError`."""

    def now(self) -> datetime:
        """Return the time by the API server's clock, as its answers show it.

        All recorded times are of this clock, and compared with it only. A time of another machine,
        the operator's own included, is at most compared with another time of that machine.
        """

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the object, or None when there is none."""

    async def version(self, kind: Kind, namespace: str, name: str) -> str:
        """Return the object's resource version without reading it; empty when there is none."""

    async def find(
        self,
        kind: Kind,
        namespace: str,
        *,
        labels: Mapping[str, str],
        fields: Mapping[str, str] | None = None,
    ) -> list[Manifest]:
        """Return the objects that have all these labels and fields.

        Only fields that the API server indexes, as dotted paths.
        """

    async def apply(
        self, manifest: Manifest, *, manager: str = MANAGER, status: bool = False
    ) -> Manifest:
        """Apply the object server-side; return it as it then is.

        Fields that this manager applied before and no longer does are removed; fields of others
        stay. With `status` only the status subresource is written; ConflictError or
        ApiRejectedError when the object does not exist. With a uid in its metadata, ConflictError
        when there is another object of that name, or none; with a resourceVersion also when it
        has changed.
        """

    async def create(self, manifest: Manifest) -> None:
        """Create an object; ConflictError when its name exists, whoever it belongs to."""

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, at_once: bool = False
    ) -> None:
        """Delete exactly the object with that uid; do nothing when it is gone.

        A pod that is deleted `at_once` is gone whatever its kubelet says: its containers may run on.
        """

    async def evict(self, namespace: str, name: str, *, uid: str) -> str:
        """Evict exactly the pod with that uid.

        Returns why a disruption budget refused it; empty when the pod terminates or is gone.
        """

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server knows the kind."""
