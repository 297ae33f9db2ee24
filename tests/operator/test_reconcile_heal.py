"""Members whose node, volume or disk is lost are replaced; pods on dead nodes are freed."""

from copy import deepcopy

import pytest
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver

pytestmark = pytest.mark.slow

SHOP = "shop"
HALF_AN_HOUR = 1800.0


def conditions(cluster):
    return {one.type: one for one in cluster.status.conditions}


def condition(cluster, question: str):
    return next(one for one in cluster.status.conditions if one.type == question)


def grown(replicas: int = 3, **spec) -> Driver:
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=replicas, **spec)
    driver.settled(within=200)
    return driver


def kill(driver: Driver, ordinal: int) -> str:
    """Let the machine of that pod die."""
    return driver.world.machines.kill(driver.world.pod(ordinal))


def wait(driver: Driver, seconds: float) -> None:
    """Make a pass every half a minute for that time."""
    driver.passes(int(seconds / 30), seconds=30)


def ids(driver: Driver) -> list[int]:
    return sorted(driver.world.members)


def done(driver: Driver, what: str) -> list[str]:
    return [one for one in driver.crash_points.changes if one.startswith(what)]


@pytest.mark.parametrize("local", [True, False], ids=["local disk", "network disk"])
def test_a_member_whose_node_stays_away_is_replaced_under_a_fresh_id(local: bool) -> None:
    driver = grown()
    driver.world.machines.local = local
    kill(driver, 1)

    wait(driver, HALF_AN_HOUR - 120)
    assert ids(driver) == [1, 2, 3]
    assert done(driver, "delete") == []
    cluster = driver.world.cluster()
    assert [(one.member, one.pod) for one in cluster.status.absent] == [(2, "orders-1")]
    said = condition(cluster, "Degraded").message
    assert "member 2 (orders-1) is not replaced yet" in said
    assert "spec.healing.replaceAfter: 30m" in said
    assert "node.kubernetes.io/out-of-service" in said
    under_way = conditions(cluster)["Reconciling"]
    assert (under_way.status, under_way.reason) == ("True", "Healing")
    assert "that happens after" in under_way.message
    assert conditions(cluster)["Stalled"].status == "False"

    wait(driver, 300)
    cluster = driver.settled()
    assert ids(driver) == [1, 3, 4]
    assert cluster.status.ready == "3/3"
    assert cluster.status.absent == []
    assert done(driver, "delete Pod") == ["delete Pod orders-1"]
    freed = ["delete PersistentVolumeClaim data-orders-1"] if local else []
    assert done(driver, "delete PersistentVolumeClaim") == freed
    assert driver.most_down == 1


def test_a_member_that_comes_back_in_time_is_not_replaced() -> None:
    driver = grown()
    machine = kill(driver, 1)
    wait(driver, HALF_AN_HOUR - 120)
    del driver.world.machines.dead[machine]
    driver.settled()
    kill(driver, 1)
    wait(driver, HALF_AN_HOUR - 120)

    assert ids(driver) == [1, 2, 3]
    assert done(driver, "delete") == []


def test_never_means_never_and_says_so() -> None:
    driver = grown(healing={"replaceAfter": "never"})
    kill(driver, 1)
    wait(driver, 4 * HALF_AN_HOUR)

    assert ids(driver) == [1, 2, 3]
    assert done(driver, "delete") == []
    assert conditions(driver.world.cluster())["Stalled"].reason == "PodStuckTerminating"
    said = condition(driver.world.cluster(), "Degraded").message
    assert "spec.healing.replaceAfter is never" in said
    assert "kubectl delete pod orders-1 --force" in said


def test_a_pod_stuck_terminating_whose_member_takes_part_is_left_alone() -> None:
    """Its kubelet is gone; its process runs on, and the leader hears it."""
    driver = grown()
    driver.world.machines.cut_off.add(kill(driver, 1))
    wait(driver, 3 * HALF_AN_HOUR)

    assert "deletionTimestamp" in driver.world.pod(1)["metadata"]
    assert ids(driver) == [1, 2, 3]
    assert done(driver, "delete") == []
    said = condition(driver.world.cluster(), "Degraded").message
    assert "kubectl get node machine-" in said


def test_two_lost_nodes_of_five_are_replaced_one_after_the_other() -> None:
    driver = grown(5)
    kill(driver, 1)
    kill(driver, 3)
    fewest = 5
    for _ in range(120):
        driver.passes(1, seconds=30)
        fewest = min(fewest, len(driver.world.voters))

    driver.settled()
    assert fewest == 4
    assert ids(driver) == [1, 3, 5, 6, 7]


def test_shrinking_goes_on_though_a_member_in_the_middle_is_on_a_dead_node() -> None:
    """The highest one cannot go first: those that stay would have no majority."""
    driver = grown()
    kill(driver, 1)
    wait(driver, 600)
    driver.world.edit(replicas=1)
    wait(driver, 600)

    assert ids(driver) == [1]
    assert [one["metadata"]["name"] for one in driver.world.pods()] == ["orders-0"]
    assert driver.settled().status.ready == "1/1"


def test_without_a_majority_nothing_is_removed() -> None:
    driver = grown()
    kill(driver, 1)
    kill(driver, 2)
    wait(driver, 4 * HALF_AN_HOUR)

    assert ids(driver) == [1, 2, 3]
    assert done(driver, "delete") == []
    assert condition(driver.world.cluster(), "Ready").status == "False"


def test_a_drained_nodes_local_volume_counts_as_lost_only_after_the_time() -> None:
    driver = grown()
    machines = driver.world.machines
    machines.cordoned.add(machines.placed[driver.world.pod(2)["metadata"]["uid"]])
    driver.world.store.delete(kinds.POD, SHOP, "orders-2")
    wait(driver, HALF_AN_HOUR - 120)
    assert ids(driver) == [1, 2, 3]
    machines.cordoned.clear()
    assert driver.settled().status.ready == "3/3"
    assert done(driver, "delete") == []


def test_a_damaged_disk_is_reported_and_replaced_after_the_time() -> None:
    driver = grown()
    driver.world.disks[2].damaged = True
    wait(driver, HALF_AN_HOUR - 120)
    cluster = driver.world.cluster()
    assert ids(driver) == [1, 2, 3]
    assert done(driver, "delete") == []
    said = condition(cluster, "Degraded").message
    assert "DiskDamaged" in said
    assert "checksum mismatch" in said
    assert "kubectl delete pvc data-orders-2" in said
    assert "data-orders-2 is deleted WITHOUT quarantine" in said
    assert "kubectl annotate pvc data-orders-2 amaters.io/undelete=true" in said

    wait(driver, 300)
    assert driver.settled().status.ready == "3/3"
    assert ids(driver) == [1, 2, 4]
    assert done(driver, "delete") == ["delete PersistentVolumeClaim data-orders-2"]


@pytest.mark.parametrize("kept", ["Retain", "undelete"])
def test_a_volume_that_a_person_keeps_is_not_deleted(kept: str) -> None:
    driver = grown(storage={"whenScaled": "Retain"} if kept == "Retain" else {})
    if kept == "undelete":
        entry = driver.world.store.entries[kinds.CLAIM, SHOP, "data-orders-2"]
        entry.own["metadata"]["annotations"] = {"amaters.io/undelete": "true"}
    driver.world.disks[2].damaged = True
    wait(driver, 3 * HALF_AN_HOUR)

    assert ids(driver) == [1, 2]
    assert done(driver, "delete") == []
    said = condition(driver.world.cluster(), "Degraded").message
    assert "WITHOUT quarantine" not in said
    assert (
        "kubectl delete pvc data-orders-2" in condition(driver.world.cluster(), "Degraded").message
    )


def test_a_pod_that_merely_crashes_is_never_replaced() -> None:
    driver = grown()
    driver.world.bad_images = {"amaters:2"}
    driver.world.edit(image="amaters:2")
    wait(driver, 4 * HALF_AN_HOUR)

    assert ids(driver) == [1, 2, 3]
    assert done(driver, "delete") == []


def test_all_pods_deleted_at_once_come_back_over_their_volumes() -> None:
    driver = grown()
    for ordinal in range(3):
        driver.world.store.delete(kinds.POD, SHOP, f"orders-{ordinal}")
    assert driver.settled().status.ready == "3/3"
    assert ids(driver) == [1, 2, 3]
    assert driver.world.clusters_formed == 1


@pytest.mark.parametrize("orphan", [True, False], ids=["orphan", "cascade"])
def test_a_deleted_statefulset_comes_back(orphan: bool) -> None:
    driver = grown()
    uids = [one["metadata"]["uid"] for one in driver.world.pods()]
    driver.world.delete_statefulset(orphan=orphan)
    cluster = driver.settled()

    assert cluster.status.ready == "3/3"
    assert ids(driver) == [1, 2, 3]
    now = [one["metadata"]["uid"] for one in driver.world.pods()]
    assert (now == uids) is orphan


def test_the_operator_may_die_at_any_change_of_a_replacement() -> None:
    beginning = grown()
    kill(beginning, 1)
    wait(beginning, HALF_AN_HOUR - 60)
    calm = deepcopy(beginning)
    start = len(calm.crash_points.changes)
    wait(calm, 300)
    calm.settled()
    changes = calm.crash_points.changes[start:]
    important = [
        at
        for at, what in enumerate(changes, start=1)
        if what.startswith(("delete", "remove", "add", "promote", "evict", "apply P"))
    ]
    assert len(important) >= 5
    for at in important:
        for after in (False, True):
            driver = deepcopy(beginning)
            driver.crash_points.at, driver.crash_points.after = start + at, after
            wait(driver, 300)
            driver.settled()
            where = f"change {changes[at - 1]}, {after=}"
            assert driver.deaths == 1, where
            assert ids(driver) == [1, 3, 4], where
            assert driver.most_down == 1, where
