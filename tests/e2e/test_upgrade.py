"""A new image, one pod at a time, leader last, under a client that never stops."""

import threading
import time

import pytest

from demo.clusters import NEXT_IMAGE, Cluster, is_ready
from demo.kubectl import CommandError, eventually

pytestmark = pytest.mark.e2e


class Watch(threading.Thread):
    """Notes in which order pods were replaced, how many were down at once, and who led."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self.cluster = cluster
        self.first = {name: pod["metadata"]["uid"] for name, pod in cluster.pods.items()}
        self.replaced: list[str] = []
        self.leaders = [cluster.leader()]
        self.most_down = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.3):
            try:
                self.look()
            except (CommandError, StopIteration):
                continue

    def look(self) -> None:
        pods = self.cluster.pods
        up = [name for name, pod in pods.items() if is_ready(pod)]
        self.most_down = max(self.most_down, len(self.first) - len(up))
        for name, pod in pods.items():
            if pod["metadata"]["uid"] != self.first[name] and name not in self.replaced:
                self.replaced.append(name)
        leader = self.cluster.leader(pod=up[0])
        if leader != self.leaders[-1]:
            self.leaders.append(leader)


def test_a_roll_loses_nothing_and_moves_leadership_once(cluster, workload):
    roll = cluster("roll", replicas=3)
    roll.until_ready(3)
    client = workload("roll")
    client.start()
    watch = Watch(roll)
    watch.start()
    time.sleep(3)

    roll.patch(image=NEXT_IMAGE)

    def rolled() -> bool:
        return roll.images == {NEXT_IMAGE} and len(watch.replaced) == 3

    eventually("all pods on the next image", rolled, within=240, explain=roll.describe)
    roll.until_ready(3)
    time.sleep(2)
    watch.ended.set()
    summary = client.finish()
    print(f"\nroll: {summary}; order {watch.replaced}; leaders {watch.leaders}")
    assert summary["violations"] == []
    assert summary["acknowledged"] > 500
    assert watch.replaced[-1] == watch.leaders[0], "the old leader goes last"
    assert len(watch.leaders) == 2, "leadership moves exactly once"
    assert watch.most_down <= 1


def test_a_bad_image_stops_after_one_pod_and_a_corrected_spec_wins(cluster):
    stuck = cluster("stuck", replicas=3, upgrade={"progressDeadlineSeconds": 15})
    stuck.until_ready(3)

    stuck.patch(image="amaters-server:does-not-exist", imagePullPolicy="Never")

    def told() -> bool:
        condition = stuck.condition("RolloutStuck")
        return condition.get("status") == "True" and "does-not-exist" in condition["message"]

    eventually("the condition names the broken pod", told, within=90, explain=stuck.describe)
    time.sleep(5)
    broken = [pod for pod in stuck.pods.values() if not is_ready(pod)]
    assert len(broken) == 1
    assert "hello" in stuck.cli("set", "hello", "hello", pod=stuck.ready_pods[0])

    stuck.patch(image=NEXT_IMAGE, imagePullPolicy="IfNotPresent")

    eventually(
        "all pods on the corrected image",
        lambda: stuck.images == {NEXT_IMAGE},
        within=180,
        explain=stuck.describe,
    )
    stuck.until_ready(3)
