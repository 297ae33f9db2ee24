"""A thread that watches a roll: the order of pods, how many are down at once, who leads."""

import subprocess
import threading
from types import TracebackType
from typing import Self

from demo.clusters import Cluster, is_ready
from demo.kubectl import CommandError


class RollMonitorError(AssertionError):
    """The monitor stopped before the roll ended: nothing that it noted proves anything."""


class RollMonitor:
    """Samples a cluster until the block ends.

    A sample without a ready pod or without a leader is a sample. kubectl that fails or takes too
    long, as it may while pods are replaced, is counted in `missed`. Every other error ends the
    monitor: `check` and the end of the block raise it.
    """

    def __init__(self, cluster: Cluster, *, interval: float = 0.3) -> None:
        self.cluster = cluster
        self.first = {name: pod["metadata"]["uid"] for name, pod in cluster.pods.items()}
        self.leaders = [cluster.leader()]
        self.replaced: list[str] = []
        self.most_down = 0
        self.missed: list[str] = []
        self._interval = interval
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="roll monitor", daemon=True)

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
        if error is None:
            self.check()
        elif self._error is not None:
            error.add_note(f"the roll monitor stopped before: {self._error!r}")

    def check(self) -> None:
        """Raise RollMonitorError when the monitor has stopped because of an error."""
        if self._error is not None:
            raise RollMonitorError(f"the roll monitor stopped: {self._error!r}") from self._error

    def sample(self) -> None:
        """Note the pods, then the leader as a ready pod knows it."""
        pods = self.cluster.pods
        ready = [name for name, pod in pods.items() if is_ready(pod)]
        self.most_down = max(self.most_down, len(self.first) - len(ready))
        for name, pod in pods.items():
            if pod["metadata"]["uid"] != self.first[name] and name not in self.replaced:
                self.replaced.append(name)
        if not ready:
            return
        leaders = [one["name"] for one in self.cluster.members(ready[0]) if one["is_leader"]]
        self.leaders.extend(name for name in leaders if name != self.leaders[-1])

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                self.sample()
            except (CommandError, subprocess.TimeoutExpired) as error:
                self.missed.append(str(error))
            except Exception as error:
                self._error = error
                return
