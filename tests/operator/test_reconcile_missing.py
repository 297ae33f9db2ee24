"""Members that are missing: what is said is true, and what is advised helps."""

from datetime import timedelta

import pytest
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver

pytestmark = pytest.mark.slow

SHOP = "shop"


def condition(cluster, question: str):
    return next(one for one in cluster.status.conditions if one.type == question)


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.world.edit(image="amaters:1", replicas=3)
    return made


def lose(driver: Driver, ordinal: int) -> None:
    driver.world.store.delete(kinds.POD, SHOP, f"orders-{ordinal}")


def test_a_drained_node_with_a_local_disk_is_no_stuck_upgrade(driver: Driver) -> None:
    driver.settled()
    driver.world.unschedulable = {1}
    driver.world.scheduler_says = (
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) had volume node affinity "
        "conflict."
    )
    lose(driver, 1)
    driver.passes(20)

    cluster = driver.world.cluster()
    assert cluster.status.phase == "Degraded"
    assert condition(cluster, "Ready").status == "True"
    assert condition(cluster, "RolloutStuck").status == "False"
    assert condition(cluster, "Stalled").status == "False"
    said = condition(cluster, "Degraded").message
    assert "not taking part: orders-1" in said
    assert "Uncordon that node" in said
    assert "Correct" not in said

    driver.world.unschedulable = set()
    assert driver.settled().status.ready == "3/3"


def test_a_node_that_is_drained_during_a_roll_stops_it_with_the_same_text(driver: Driver) -> None:
    driver.settled()
    driver.world.unschedulable = {2}
    driver.world.scheduler_says = "3 node(s) didn't match PersistentVolume's node affinity"
    driver.world.edit(image="amaters:2")
    cluster = driver.until(lambda one: one.status.phase == "UpgradeStuck")
    driver.passes(10)

    said = condition(cluster, "RolloutStuck").message
    assert "Uncordon that node" in said
    assert "No healthy pod is touched" in said
    assert "orrected spec" not in said
    assert driver.most_down == 1

    driver.world.unschedulable = set()
    assert driver.settled().status.image == "amaters:2"


def test_a_pod_that_does_not_go_is_said_to_be_stuck(driver: Driver) -> None:
    driver.settled()
    driver.world.stuck_terminating = {1}
    driver.world.edit(image="amaters:2")
    driver.until(lambda _: "deletionTimestamp" in (driver.world.pod(1) or {})["metadata"])
    driver.passes(10)
    early = driver.world.cluster()
    driver.passes(40)

    cluster = driver.world.cluster()
    assert condition(early, "Stalled").status == "False"
    assert "orders-1 is terminating and will be recreated" in condition(early, "Degraded").message
    for question in ("Degraded", "RolloutStuck"):
        assert condition(cluster, question).status == "True"
        assert "deadline to terminate passed" in condition(cluster, question).message
    # The operator replaces the member by itself, unless it may not.
    assert condition(cluster, "Stalled").status == "False"
    said = condition(cluster, "Reconciling")
    assert (said.status, said.reason) == ("True", "Healing")
    assert "spec.healing.replaceAfter: 30m" in said.message
    assert [one for one in driver.events() if "deadline to terminate passed" in one][1:] == []
    driver.world.edit(healing={"replaceAfter": "never"})
    driver.passes(2)
    said = condition(driver.world.cluster(), "Stalled")
    assert said.status == "True"
    assert "deadline to terminate passed" in said.message

    driver.world.stuck_terminating = set()
    assert driver.settled().status.image == "amaters:2"


def test_a_storage_class_that_is_not_there_is_named(driver: Driver) -> None:
    driver.world.unschedulable = {0, 1, 2}
    driver.world.scheduler_says = "pod has unbound immediate PersistentVolumeClaims"
    driver.passes(3)
    for claim in driver.world.store.find(kinds.CLAIM, SHOP, {}):
        driver.world.warn(claim, "ProvisioningFailed", 'storageclass "nope" not found')
    driver.passes(8)

    cluster = driver.world.cluster()
    said = condition(cluster, "Stalled")
    assert cluster.status.phase == "Creating"
    assert (said.status, said.reason) == ("True", "VolumeNotBound")
    assert 'storageclass "nope" not found' in said.message
    assert "broken pod" not in said.message
    assert 'storageclass "nope" not found' in condition(cluster, "Ready").message
    assert condition(cluster, "RolloutStuck").status == "False"

    driver.world.unschedulable = set()
    assert driver.settled().status.ready == "3/3"


def test_a_pod_that_the_quota_refuses_is_reported_by_its_statefulset(driver: Driver) -> None:
    driver.settled()
    driver.world.quota = 'pods "orders-3" is forbidden: exceeded quota: small'
    driver.world.edit(replicas=5)
    driver.passes(15)

    cluster = driver.world.cluster()
    said = condition(cluster, "Stalled")
    assert (said.status, said.reason) == ("True", "PodRefused")
    assert "exceeded quota: small. Raise the quota" in said.message
    assert condition(cluster, "Ready").status == "True"
    assert "kubectl describe pod" not in condition(cluster, "Degraded").message
    assert len([one for one in driver.events() if one.startswith("PodRefused")]) == 1

    driver.world.quota = ""
    assert driver.settled(within=200).status.ready == "5/5"


@pytest.mark.parametrize("ahead", [timedelta(hours=-3), timedelta(hours=3)])
def test_a_warning_counts_whatever_the_clock_of_its_writer_says(driver, ahead) -> None:
    driver.world.events_ahead = ahead
    driver.settled()
    driver.world.quota = "exceeded quota: small"
    lose(driver, 1)
    driver.passes(15)
    assert "exceeded quota: small" in condition(driver.world.cluster(), "Degraded").message

    driver.world.quota = ""
    driver.world.stuck_terminating = set()
    driver.settled()
    driver.world.unschedulable = {1}
    lose(driver, 1)
    driver.passes(2)
    driver.world.now += timedelta(minutes=30)
    driver.passes(15)
    assert "exceeded quota" not in condition(driver.world.cluster(), "Degraded").message


def test_events_are_read_only_while_a_pod_is_missing_for_a_while(driver: Driver) -> None:
    read: list[str] = []
    find = driver.kube.find

    async def noted(kind, namespace, *, labels, fields=None):
        about = (fields or {}).get("regarding.kind")
        if kind == kinds.EVENT and about in ("Pod", "StatefulSet", "PersistentVolumeClaim"):
            read.append(about)
        return await find(kind, namespace, labels=labels, fields=fields)

    driver.settled()
    driver.kube.find = noted
    driver.world.edit(image="amaters:2")
    driver.settled()
    assert read == []

    driver.world.quota = "exceeded quota"
    lose(driver, 1)
    driver.passes(3)
    assert set(read) == {"StatefulSet"}
