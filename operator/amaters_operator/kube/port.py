"""What the operator asks of the Kubernetes API. Implemented by `client` and by the test kit."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from amaters_operator.kube.kinds import Kind
from amaters_operator.manifests.names import Manifest

MANAGER = "amaters-operator"
"""The field manager of everything the operator applies, but for what says otherwise."""


class KubeApi(Protocol):
    """The Kubernetes API. Reads are never stale; every failure is a `KubeError`."""

    def now(self) -> datetime:
        """Return the time by the API server's clock, as its answers show it.

        Whatever is dated is dated by it, and whatever was dated by it is compared with it: clocks
        of other machines, the operator's own among them, are compared with themselves at most.
        """

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the object as it is now, or None when there is none."""

    async def find(
        self,
        kind: Kind,
        namespace: str,
        *,
        labels: Mapping[str, str],
        fields: Mapping[str, str] | None = None,
    ) -> list[Manifest]:
        """Return the objects that carry all these labels and have these fields, as they are now.

        Only fields that the API server has an index of; their paths have dots.
        """

    async def apply(
        self, manifest: Manifest, *, manager: str = MANAGER, status: bool = False
    ) -> Manifest:
        """Make the object be as given, as far as given; return what it then is.

        Server-side apply: fields this manager gave before and gives no more are removed, others'
        fields stay. With `status` only the status subresource is written; ConflictError or
        RefusedError when the object does not exist.
        """

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly the object with that uid; when it is gone already, do nothing."""

    async def evict(self, namespace: str, name: str, *, uid: str) -> str:
        """Evict exactly the pod with that uid.

        Returns why it was refused (a disruption budget), or nothing when it goes or is gone.
        """

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server knows the kind."""
