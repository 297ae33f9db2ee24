"""A thread that kills the operator that leads, again and again, at moments that a seed decides."""

import json
import random
import subprocess
import threading
from types import TracebackType
from typing import Self

from demo.kubectl import CommandError, Kubectl

LEASE = "amaters-operator"


class OperatorKiller:
    """Deletes the pod that holds the Lease, without a warning, until the block ends."""

    def __init__(self, kubectl: Kubectl, seed: int, *, least: float = 0.5, most: float = 8) -> None:
        self.kubectl = kubectl
        self.killed: list[str] = []
        self._chance = random.Random(seed)
        self._between = (least, most)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operator killer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def holder(self) -> str:
        """Name the pod that holds the Lease; empty while none that exists does."""
        lease = json.loads(self.kubectl("get", "lease", LEASE, "--output", "json"))
        identity = lease["spec"].get("holderIdentity") or ""
        pods = self.kubectl.items("pods", f"app.kubernetes.io/name={LEASE}")
        return next((n for pod in pods if (n := pod["metadata"]["name"]) in identity), "")

    def _run(self) -> None:
        while not self._ended.wait(self._chance.uniform(*self._between)):
            try:
                if pod := self.holder():
                    self.kubectl(
                        "delete", "pod", pod, "--grace-period=0", "--force", "--wait=false"
                    )
                    self.killed.append(pod)
            except (CommandError, subprocess.TimeoutExpired):
                continue  # It has just gone by itself; another holds the Lease soon.
