"""A thread that kills the operator that leads, again and again, at moments that a seed decides."""

import json
import random

from typing_extensions import override

from demo.kubectl import Kubectl
from testbed.repeated import Repeated

LEASE = "amaters-operator"


class OperatorKiller(Repeated):
    """Deletes the pod that holds the Lease, without a warning, until the block ends."""

    def __init__(self, kubectl: Kubectl, seed: int, *, least: float = 0.5, most: float = 8) -> None:
        super().__init__("operator killer")
        self.kubectl = kubectl
        self.killed: list[str] = []
        self._chance = random.Random(seed)
        self._between = (least, most)

    def holder(self) -> str:
        """Name the pod that holds the Lease; empty while none that exists does."""
        lease = json.loads(self.kubectl("get", "lease", LEASE, "--output", "json"))
        identity = lease["spec"].get("holderIdentity") or ""
        pods = self.kubectl.items("pods", f"app.kubernetes.io/name={LEASE}")
        return next((n for pod in pods if (n := pod["metadata"]["name"]) in identity), "")

    @override
    def once(self) -> None:
        """Kill it; one that has just gone by itself is missed, and another holds the Lease soon."""
        if pod := self.holder():
            self.kubectl("delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")
            self.killed.append(pod)

    @override
    def pause(self) -> float:
        """Return the seconds that the seed decides."""
        return self._chance.uniform(*self._between)
