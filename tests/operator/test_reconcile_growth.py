"""Disks that fill up: in the status, in a condition, and grown before they are full."""

import pytest
from amaters_operator.app.health import Metrics
from amaters_operator.controllers.cluster import ClusterController
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.driver import _run
from prometheus_client import CollectorRegistry

SHOP = "shop"
GIB = 1024**3
AUTO = {"size": "10Gi", "autoGrow": {"below": "20%", "by": "50%", "max": "30Gi"}}


def condition(cluster, question: str):
    return next(one for one in cluster.status.conditions if one.type == question)


def sizes(driver: Driver) -> list[str]:
    found = driver.world.store.find(kinds.CLAIM, SHOP, {})
    found.sort(key=lambda one: one["metadata"]["name"])
    return [one["spec"]["resources"]["requests"]["storage"] for one in found]


def fill(driver: Driver, gib: float, *ordinals: int) -> None:
    for ordinal in ordinals or driver.world.disks:
        driver.world.disks[ordinal].used = int(gib * GIB)


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.world.edit(image="amaters:1", replicas=3, storage=AUTO)
    made.settled()
    return made


def test_usage_is_in_the_status_and_at_rest_nothing_is_written(driver: Driver) -> None:
    fill(driver, 5)
    driver.passes(2)
    usage = driver.world.cluster().status.storage
    before = len(driver.crash_points.changes)
    fill(driver, 5.01)
    driver.passes(1)

    assert [(one.pod, one.percent) for one in usage] == [(f"orders-{n}", 50) for n in range(3)]
    assert usage[0].capacity_bytes == 10 * GIB
    assert not [one for one in driver.crash_points.changes[before:] if one.endswith("status")]
    assert condition(driver.world.cluster(), "DiskPressure").status == "False"


def test_all_volumes_grow_step_by_step_up_to_the_limit(driver: Driver) -> None:
    fill(driver, 8.5, 1)
    driver.passes(4)
    cluster = driver.settled()

    assert sizes(driver) == ["15Gi"] * 3
    assert (cluster.status.auto_grow.size, cluster.status.volume_size) == ("15Gi", "15Gi")
    assert cluster.spec.storage.size == "10Gi"
    assert (
        "data-orders-1 has 15% of its file system free (1.5Gi of 10Gi)"
        in cluster.status.auto_grow.because
    )
    assert any("VolumeGrows: data-orders-2 grows to 15Gi" in one for one in driver.events())
    driver.passes(5)
    assert sizes(driver) == ["15Gi"] * 3

    fill(driver, 14)
    driver.passes(6)
    assert sizes(driver) == ["23Gi"] * 3
    fill(driver, 29.9)
    driver.passes(12)
    assert sizes(driver) == ["30Gi"] * 3
    said = condition(driver.world.cluster(), "DiskPressure")
    assert (said.status, said.reason) == ("True", "GrowthLimit")
    assert "Writes that add data are refused" in said.message


def test_nothing_more_is_asked_before_the_last_growth_is_done(driver: Driver) -> None:
    driver.world.volumes.grow = False
    fill(driver, 9.9)
    driver.passes(20)
    said = condition(driver.world.cluster(), "DiskPressure")

    assert sizes(driver) == ["15Gi"] * 3
    assert (said.reason, "grow to 15Gi" in said.message) == ("VolumesGrow", True)
    driver.world.volumes.grow = True
    assert driver.settled().status.volume_size == "15Gi"


def test_volumes_grow_by_the_last_known_usage_while_all_pods_are_down(driver: Driver) -> None:
    driver.world.edit(storage={"size": "10Gi"})
    fill(driver, 9)
    driver.passes(3)
    assert sizes(driver) == ["10Gi"] * 3
    driver.world.bad_images.add("amaters:1")
    driver.passes(3)

    driver.world.edit(storage=AUTO)
    driver.passes(4)

    assert sizes(driver) == ["15Gi"] * 3


def test_a_full_disk_ends_in_writes_by_the_spec_alone(driver: Driver) -> None:
    driver.world.edit(storage={"size": "10Gi"})
    fill(driver, 10)
    driver.passes(3)
    said = condition(driver.world.cluster(), "DiskPressure")
    assert (said.reason, "No write is taken" in said.message) == ("DiskFull", True)

    driver.world.edit(storage={"size": "20Gi"})
    cluster = driver.settled()

    assert condition(cluster, "DiskPressure").status == "False"
    assert sizes(driver) == ["20Gi"] * 3


def test_a_class_that_cannot_grow_is_a_condition_with_the_remedy(driver: Driver) -> None:
    driver.kube.rejects_growth = True
    fill(driver, 9)
    driver.passes(4)
    cluster = driver.world.cluster()

    for kind in ("DiskPressure", "Stalled"):
        assert condition(cluster, kind).reason == "VolumeNotGrown"
        assert "allowVolumeExpansion" in condition(cluster, kind).message
    assert condition(cluster, "Ready").status == "True"
    driver.kube.rejects_growth = False
    assert driver.settled().status.volume_size == "15Gi"


def test_what_the_storage_says_of_a_growth_that_fails_is_passed_on(driver: Driver) -> None:
    driver.world.volumes.trouble = "the project's quota of 30 GB is used up"
    fill(driver, 9)
    driver.passes(6)

    said = condition(driver.world.cluster(), "Stalled")
    assert (said.reason, "quota of 30 GB" in said.message) == ("VolumeNotGrown", True)


def test_a_new_member_begins_with_the_size_that_the_others_have(driver: Driver) -> None:
    fill(driver, 9)
    driver.passes(4)
    driver.world.edit(replicas=4)
    driver.settled(within=200)

    assert sizes(driver) == ["15Gi"] * 4


def test_a_crash_after_the_first_claim_leaves_no_volume_behind(driver: Driver) -> None:
    fill(driver, 8.5)
    driver.crash_points.named = "apply PersistentVolumeClaim data-orders-0"
    driver.crash_points.after = True
    driver.passes(1)
    assert sizes(driver) == ["15Gi", "10Gi", "10Gi"]

    cluster = driver.settled()

    assert sizes(driver) == ["15Gi"] * 3
    assert cluster.status.volume_size == "15Gi"


def test_the_operators_metrics_follow_the_volumes(driver: Driver) -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    controller = ClusterController(
        driver.kube, driver.database, instance="test", on_usage=metrics.volumes
    )
    fill(driver, 4)
    labels = {"namespace": SHOP, "cluster": "orders", "pod": "orders-1"}

    _run(_passing(controller))
    used = registry.get_sample_value("amaters_operator_volume_used_bytes", labels)
    capacity = registry.get_sample_value("amaters_operator_volume_capacity_bytes", labels)
    driver.world.delete_cluster()
    _run(_passing(controller))

    assert (used, capacity) == (4 * GIB, 10 * GIB)
    assert registry.get_sample_value("amaters_operator_volume_used_bytes", labels) is None


async def _passing(controller: ClusterController) -> None:
    await controller.reconcile(SHOP, "orders")
