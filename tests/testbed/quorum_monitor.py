"""A thread that counts voters: how many there are, and how many the leader hears from."""

from collections.abc import Sequence

from typing_extensions import override

from demo.clusters import Cluster
from testbed.repeated import Repeated


class QuorumMonitor(Repeated):
    """Samples the members as a ready pod knows them, until the block ends.

    `seen` has a pair for each change: voters, and voters that the leader hears from. A sample that
    no pod answers, as while one ends, is counted in `missed`.
    """

    def __init__(
        self, cluster: Cluster, *, asking: Sequence[str] = (), interval: float = 0.3
    ) -> None:
        super().__init__("quorum monitor", interval=interval)
        self.cluster = cluster
        self.asking = asking
        """Pods to ask, when not all can be reached."""
        self.seen: list[tuple[int, int]] = []
        self.samples = 0

    @property
    def fewest_voters(self) -> int:
        """The fewest voters of any sample."""
        return min(voters for voters, _ in self.seen)

    @property
    def least_tolerance(self) -> int:
        """How many voters could have been lost, at worst, without losing the majority."""
        return min(heard - (voters // 2 + 1) for voters, heard in self.seen)

    @override
    def once(self) -> None:
        """Ask a ready pod."""
        ready = [one for one in self.cluster.ready_pods if not self.asking or one in self.asking]
        for pod in ready[:1]:
            members = self.cluster.members(pod)
            leads = any(one["is_leader"] for one in members)
            voters = [one for one in members if not one["is_learner"]]
            heard = [one for one in voters if one["recent_active"] or one["is_leader"]]
            if not leads:
                self.missed.append(f"{pod} knows no leader")
                return
            self.samples += 1
            found = (len(voters), len(heard))
            if not self.seen or self.seen[-1] != found:
                self.seen.append(found)
