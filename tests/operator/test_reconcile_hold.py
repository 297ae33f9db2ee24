"""What people hold: a paused operator, a hibernated cluster, fenced pods, transfers they ask for."""

import pytest
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.world import NAME, NAMESPACE

RETAINED = 3


def condition(cluster, question: str):
    return next(one for one in cluster.status.conditions if one.type == question)


def kill(driver: Driver, change: int, *, after: bool) -> None:
    """Kill the operator at this change from now."""
    driver.crash_points.at = len(driver.crash_points.changes) + change
    driver.crash_points.after = after


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.world.edit(image="amaters:1")
    made.settled()
    return made


def test_a_paused_operator_changes_nothing_and_says_what_it_would_do(driver: Driver) -> None:
    driver.world.edit(paused=True, image="amaters:2", replicas=5)
    driver.passes(1)
    before = len(driver.crash_points.changes)
    driver.world.store.delete(kinds.CONFIG_MAP, NAMESPACE, f"{NAME}-config")

    driver.passes(10)

    written = driver.crash_points.changes[before:]
    assert not [one for one in written if not one.endswith("status") and "Event" not in one]
    cluster = driver.world.cluster()
    assert cluster.status.phase == "Paused"
    assert condition(cluster, "Ready").status == "True"
    assert condition(cluster, "Paused").status == "True"
    assert condition(cluster, "Reconciling").status == "False"
    assert cluster.status.observed_generation == cluster.metadata.generation

    driver.world.edit(paused=False)
    cluster = driver.settled(within=200)
    assert cluster.status.ready == "5/5"
    assert "Paused" not in {one.type for one in cluster.status.conditions}


def test_a_paused_cluster_is_not_created(driver: Driver) -> None:
    fresh = Driver()
    fresh.world.edit(image="amaters:1", paused=True)
    fresh.passes(5)
    assert fresh.world.store.get(kinds.STATEFUL_SET, NAMESPACE, NAME) is None
    assert condition(fresh.world.cluster(), "Paused").status == "True"


def test_a_hibernated_cluster_is_back_with_the_same_data(driver: Driver) -> None:
    world = driver.world
    members, disks = dict(world.members), {at: disk.index for at, disk in world.disks.items()}
    world.edit(hibernate=True)
    cluster = driver.until(lambda one: one.status.phase == "Hibernated")

    assert not world.pods()
    assert condition(cluster, "Ready").reason == "Hibernated"
    assert condition(cluster, "Degraded").status == "False"
    assert condition(cluster, "Stalled").status == "False"
    assert condition(cluster, "Reconciling").status == "False"
    assert len(world.store.find(kinds.CLAIM, NAMESPACE, {})) == RETAINED
    driver.passes(5)

    world.edit(hibernate=False)
    cluster = driver.settled()
    assert cluster.status.ready == "3/3"
    assert (world.members, world.clusters_formed) == (members, 1)
    assert all(world.disks[at].index >= index for at, index in disks.items())


def test_a_number_of_pods_changed_while_it_hibernates_is_reached_afterwards(driver: Driver) -> None:
    driver.world.edit(hibernate=True)
    driver.until(lambda one: one.status.phase == "Hibernated")
    driver.world.edit(replicas=5)
    driver.passes(5)
    assert not driver.world.pods()
    assert len(driver.world.members) == RETAINED

    driver.world.edit(hibernate=False)
    assert driver.settled(within=200).status.ready == "5/5"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 13))
def test_hibernation_converges_wherever_the_operator_is_killed(at: int, after: bool) -> None:
    driver = Driver()
    driver.world.edit(image="amaters:1")
    driver.settled()
    driver.world.edit(hibernate=True)
    kill(driver, at, after=after)
    driver.until(lambda one: one.status.phase == "Hibernated")
    driver.world.edit(hibernate=False)
    kill(driver, at, after=after)
    assert driver.settled().status.ready == "3/3"
    assert (driver.deaths, driver.world.clusters_formed) == (2, 1)
    assert len(driver.world.members) == RETAINED


def follower(driver: Driver) -> str:
    leader = driver.world.cluster().status.leader
    return next(one for one in ("orders-0", "orders-1", "orders-2") if one != leader)


def test_leadership_is_transferred_once_for_each_request(driver: Driver) -> None:
    wanted = follower(driver)
    driver.world.annotate(transfer=f"{wanted} first")
    cluster = driver.until(lambda one: one.status.leader == wanted)
    cluster = driver.settled()
    assert cluster.status.transfer.request == f"{wanted} first"
    assert cluster.status.transfer.message == f"{wanted} leads"
    assert f"Transferred: {wanted} leads" in driver.events()

    moved = driver.world.transfers
    driver.world.leader = next(one for one in driver.world.members if one != driver.world.leader)
    driver.passes(3)
    assert driver.world.transfers == moved

    driver.world.annotate(transfer=f"{wanted} second")
    driver.until(lambda one: one.status.leader == wanted)


@pytest.mark.parametrize("request_", ["orders-7 x", "nobody", "orders", "   ", "other-0 y", "-1 z"])
def test_a_request_for_a_pod_that_cannot_lead_is_refused_once(
    driver: Driver, request_: str
) -> None:
    driver.world.annotate(transfer=request_)
    driver.passes(4)
    assert driver.world.transfers == 0
    refused = [one for one in driver.events() if one.startswith("TransferRefused")]
    assert len(refused) == (1 if request_.strip() else 0)


def test_a_transfer_waits_for_a_pod_that_is_down(driver: Driver) -> None:
    wanted = follower(driver)
    ordinal = int(wanted[-1])
    driver.world.unschedulable.add(ordinal)
    driver.world.store.delete(kinds.POD, NAMESPACE, wanted)
    driver.passes(2)
    driver.world.annotate(transfer=f"{wanted} x")
    driver.passes(3)
    assert driver.world.cluster().status.leader != wanted

    driver.world.unschedulable.clear()
    driver.until(lambda one: one.status.leader == wanted)


def test_a_fenced_pod_does_not_lead_and_is_in_no_service(driver: Driver) -> None:
    leader = driver.world.cluster().status.leader
    driver.world.annotate(fenced=leader)
    cluster = driver.until(lambda one: one.status.fenced == [leader])

    assert cluster.status.leader not in ("", leader)
    assert condition(cluster, "Fenced").reason == "Fenced"
    assert condition(cluster, "Degraded").status == "False"
    cluster = driver.until(lambda one: one.status.ready_replicas == RETAINED - 1)

    driver.world.store.delete(kinds.POD, NAMESPACE, leader)
    driver.passes(5)
    assert driver.world.cluster().status.fenced == [leader]
    driver.world.annotate(fenced=leader, transfer=f"{leader} x")
    driver.passes(3)
    assert driver.world.cluster().status.leader != leader
    assert "it is fenced" in driver.world.cluster().status.transfer.message

    driver.world.annotate()
    cluster = driver.until(lambda one: one.status.ready_replicas == RETAINED)
    assert cluster.status.fenced == []
    driver.passes(1)
    assert "Fenced" not in {one.type for one in driver.world.cluster().status.conditions}


def test_a_roll_waits_for_the_end_of_a_fence(driver: Driver) -> None:
    driver.world.annotate(fenced="orders-1")
    driver.until(lambda one: one.status.fenced == ["orders-1"])
    driver.world.edit(image="amaters:2")
    driver.passes(200)
    cluster = driver.world.cluster()
    assert "orders-1 is fenced" in cluster.status.upgrade.message
    assert condition(cluster, "RolloutStuck").status == "False"

    driver.world.annotate()
    assert driver.settled(within=200).status.image == "amaters:2"


@pytest.mark.parametrize(("value", "count"), [("*", 3), ("orders-0, orders-2", 2), ("x y", 0)])
def test_a_fence_names_pods_or_all(driver: Driver, value: str, count: int) -> None:
    driver.world.annotate(fenced=value)
    driver.passes(4)
    cluster = driver.world.cluster()
    assert len(cluster.status.fenced) == count
    assert cluster.status.leader
    if not count:
        assert "names no pod of orders: x, y" in condition(cluster, "Fenced").message
