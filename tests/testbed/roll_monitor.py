"""A thread that watches a roll: the order of pods, how many are down at once, who leads."""

from typing_extensions import override

from demo.clusters import Cluster, is_ready
from testbed.repeated import Repeated


class RollMonitor(Repeated):
    """Samples a cluster until the block ends.

    A sample without a ready pod or without a leader is a sample.
    """

    def __init__(self, cluster: Cluster, *, interval: float = 0.3) -> None:
        super().__init__("roll monitor", interval=interval)
        self.cluster = cluster
        self.first = {name: pod["metadata"]["uid"] for name, pod in cluster.pods.items()}
        self.leaders = [cluster.leader()]
        self.replaced: list[str] = []
        self.most_down = 0

    @override
    def once(self) -> None:
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
