"""Volumes of the world: they grow a while after their claims."""

from dataclasses import dataclass

from amaters_operator.decisions.storage.volumes import amount
from amaters_operator.kube import kinds
from amaters_operator.manifests.names import Manifest
from amaters_operator.testing.objects import ObjectStore


@dataclass(slots=True)
class Volumes:
    """How the storage behind the claims behaves."""

    grow: bool = True
    """Whether it grows volumes now; otherwise their claims wait."""
    trouble: str = ""
    """Why it cannot; the claims say it."""

    def step(self, store: ObjectStore) -> None:
        """Let every claim have its volume, of the size that it asks for."""
        for (kind, _, _), entry in store.entries.items():
            if kind != kinds.CLAIM:
                continue
            asked = entry.whole()["spec"]["resources"]["requests"]["storage"]
            status: Manifest = entry.own.get("status") or {}
            now = (status.get("capacity") or {}).get("storage", "")
            if self.trouble and now:
                failed = {"type": "ControllerResizeError", "status": "True"}
                status = status | {"conditions": [failed | {"message": self.trouble}]}
            elif not now or (self.grow and amount(now) < amount(asked)):
                status = {"phase": "Bound", "capacity": {"storage": asked}}
            entry.own["status"] = status
