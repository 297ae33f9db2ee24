"""Rolls on a world in memory: the order, the promises, and the ways out of failures."""

from datetime import timedelta

import pytest
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.sick_images import SickImage, Symptoms
from amaters_operator.testing.world import NAMESPACE


def condition(cluster, question: str):
    return next(one for one in cluster.status.conditions if one.type == question)


def replaced(driver: Driver) -> list[str]:
    """The pods that were evicted, in order."""
    return [one.split()[1] for one in driver.crash_points.changes if one.startswith("evict")]


def images(driver: Driver) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in driver.world.pods()]


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.world.edit(image="amaters:1", replicas=3)
    made.settled()
    return made


def leader_pod(driver: Driver) -> str:
    return f"orders-{driver.world.members[driver.world.leader].ordinal}"


def test_followers_go_first_and_the_leader_last_after_one_transfer(driver: Driver) -> None:
    first = leader_pod(driver)
    driver.world.edit(image="amaters:2")

    cluster = driver.settled()

    order = replaced(driver)
    assert sorted(order) == ["orders-0", "orders-1", "orders-2"]
    assert order[-1] == first
    assert driver.world.transfers == 1
    assert driver.most_down == 1
    assert set(images(driver)) == {"amaters:2"}
    assert cluster.status.upgrade.progress == "3/3"
    assert cluster.status.image == "amaters:2"


def test_the_most_lagged_follower_goes_first(driver: Driver) -> None:
    leader = driver.world.members[driver.world.leader].ordinal
    near, far = (number for number in range(3) if number != leader)
    driver.world.index = 500
    for ordinal, index in ((leader, 500), (near, 490), (far, 5)):
        driver.world.disks[ordinal].index = index
    driver.world.edit(image="amaters:2")

    driver.until(lambda _: bool(replaced(driver)), within=10)

    assert replaced(driver) == [f"orders-{far}"]


def test_progress_is_reported_while_it_rolls(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")

    cluster = driver.until(lambda one: one.status.upgrade.progress == "1/3")

    assert cluster.status.phase == "Upgrading"
    upgrading = condition(cluster, "UpgradeInProgress")
    assert upgrading.status == "True"
    assert upgrading.message.startswith("1/3 updated; ")


@pytest.mark.slow
def test_a_bad_image_stops_after_one_pod_and_says_why(driver: Driver) -> None:
    driver.world.bad_images = {"amaters:bad"}
    driver.world.edit(image="amaters:bad")

    driver.passes(40)

    cluster = driver.world.cluster()
    assert len(replaced(driver)) == 1
    assert images(driver).count("amaters:1") == 2
    assert cluster.status.phase == "UpgradeStuck"
    stuck = condition(cluster, "RolloutStuck")
    assert stuck.status == "True"
    assert "ImagePullBackOff: no such image" in stuck.message
    assert "Correct spec.image" in stuck.message
    assert "A corrected spec replaces the broken pod first" in stuck.message
    assert condition(cluster, "Ready").status == "True"
    assert driver.most_down == 1


@pytest.mark.slow
@pytest.mark.parametrize("corrected", ["amaters:1", "amaters:2"])
def test_a_corrected_spec_frees_a_stuck_roll(driver: Driver, corrected: str) -> None:
    driver.world.bad_images = {"amaters:bad"}
    driver.world.edit(image="amaters:bad")
    driver.until(lambda one: one.status.phase == "UpgradeStuck")
    broken = replaced(driver)[0]

    driver.world.edit(image=corrected)
    driver.settled()

    assert replaced(driver)[1] == broken
    assert set(images(driver)) == {corrected}
    assert driver.most_down == 1


def test_two_edits_in_a_row_end_in_the_second(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")
    driver.until(lambda one: one.status.upgrade.progress == "1/3")
    driver.world.edit(image="amaters:3")

    driver.settled()

    assert set(images(driver)) == {"amaters:3"}
    assert driver.most_down == 1


@pytest.mark.slow
def test_a_pod_that_never_becomes_ready_makes_the_roll_stuck(driver: Driver) -> None:
    driver.world.edit(image="amaters:2", upgrade={"progressDeadlineSeconds": 60})
    driver.until(lambda _: bool(replaced(driver)))
    victim = int(replaced(driver)[0].rsplit("-", 1)[1])
    member = next(one for one in driver.world.members.values() if one.ordinal == victim)
    driver.world.disks[victim].member = member.id + 77

    driver.passes(60)

    stuck = condition(driver.world.cluster(), "RolloutStuck")
    assert stuck.status == "True"
    assert "has not been ready for more than 60 s" in stuck.message
    assert len(replaced(driver)) == 1


@pytest.mark.slow
def test_a_paused_roll_replaces_nothing(driver: Driver) -> None:
    driver.world.edit(image="amaters:2", upgrade={"paused": True})
    driver.passes(20)

    cluster = driver.world.cluster()
    assert replaced(driver) == []
    assert cluster.status.phase == "UpgradePaused"
    assert condition(cluster, "UpgradeInProgress").reason == "Paused"

    driver.world.edit(upgrade={"paused": False})
    driver.settled()
    assert len(replaced(driver)) == 3


@pytest.mark.slow
def test_nothing_healthy_is_touched_while_a_voter_is_down(driver: Driver) -> None:
    victim = next(one for one in range(3) if f"orders-{one}" != leader_pod(driver))
    driver.world.unschedulable = {victim}
    driver.world.step()
    driver.world.edit(image="amaters:2")

    driver.passes(40)

    assert set(replaced(driver)) <= {f"orders-{victim}"}
    assert driver.most_down == 1

    driver.world.unschedulable = set()
    driver.settled()
    assert set(images(driver)) == {"amaters:2"}
    assert driver.most_down == 1


@pytest.mark.slow
def test_the_roll_waits_for_those_that_lag(driver: Driver) -> None:
    leader = driver.world.members[driver.world.leader].ordinal
    driver.world.index = 100_000
    driver.world.disks[leader].index = 100_000
    driver.world.edit(image="amaters:2")

    driver.passes(20)

    assert replaced(driver) == []
    message = condition(driver.world.cluster(), "UpgradeInProgress").message
    assert "log entries" in message


def test_a_budget_of_others_is_respected(driver: Driver) -> None:
    """A drain by somebody else in the same moment: the API refuses, the operator waits."""
    driver.world.edit(image="amaters:2")
    driver.kube.refused_evictions.clear()
    other = next(one for one in range(3) if f"orders-{one}" != leader_pod(driver))
    driver.passes(1)
    driver.world.store.delete(  # somebody deletes a pod behind our back
        next(kind for kind, _, name in driver.world.store.entries if name == f"orders-{other}"),
        "shop",
        f"orders-{other}",
    )

    driver.settled()

    assert driver.most_down <= 2
    assert driver.world.has_quorum()
    assert set(images(driver)) == {"amaters:2"}


def test_one_member_is_replaced_though_writes_pause() -> None:
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=1)
    driver.settled()
    driver.world.edit(image="amaters:2")

    driver.settled()

    assert images(driver) == ["amaters:2"]
    assert any("writes pause" in note for note in driver.events())


@pytest.mark.slow
def test_growing_waits_for_the_roll_and_then_goes_on(driver: Driver) -> None:
    driver.world.edit(image="amaters:2", replicas=5)

    driver.settled(within=200)

    assert len(images(driver)) == 5
    assert set(images(driver)) == {"amaters:2"}
    assert driver.most_down == 1


@pytest.mark.slow
def test_a_change_of_the_log_level_rolls_nothing(driver: Driver) -> None:
    driver.world.edit(config={"logging": {"level": "debug"}})

    driver.passes(20)

    assert replaced(driver) == []


def test_running_nodes_take_the_log_level_over_once_the_file_is_there(driver: Driver) -> None:
    driver.passes(2)
    driver.database.reloads.clear()
    driver.database.files_arrive = False
    driver.world.edit(config={"logging": {"level": "debug"}})
    driver.passes(3)

    waiting = condition(driver.world.cluster(), "Reconciling")
    driver.database.files_arrive = True
    driver.settled()
    driver.passes(2)

    assert (waiting.status, waiting.reason) == ("True", "Reloading")
    assert "on its way to: orders-0, orders-1, orders-2" in waiting.message
    assert {one["logging"]["level"] for one in driver.world.configs.values()} == {"debug"}
    asked = len(driver.database.reloads)
    driver.passes(3)
    assert len(driver.database.reloads) == asked


@pytest.mark.slow
def test_only_bad_news_is_a_warning(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")
    driver.settled()
    driver.world.bad_images = {"amaters:bad"}
    driver.world.edit(image="amaters:bad")
    driver.until(lambda one: one.status.phase == "UpgradeStuck")

    reported = driver.world.store.find(kinds.EVENT, NAMESPACE, {})
    warnings = {one["reason"] for one in reported if one["type"] == "Warning"}
    assert warnings == {"PodNotReady"}


def test_every_step_is_reported_with_its_reason(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")
    driver.settled()

    reported = [note for note in driver.events() if note.startswith(("ReplacePod", "TransferLea"))]

    assert len(reported) == 4
    assert "0/3 updated" in reported[0]
    assert "the most caught up" in reported[2]


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("canary", [None, {"bake": "10s"}], ids=["plain", "canary"])
def test_a_corrected_spec_replaces_a_leader_that_never_gets_ready(
    replicas: int, canary: dict[str, str] | None
) -> None:
    driver = Driver()
    driver.world.sick_images["amaters:bad"] = SickImage(timedelta(0), Symptoms(unready=True))
    driver.world.edit(image="amaters:1", replicas=replicas)
    driver.settled()
    driver.world.edit(image="amaters:bad", upgrade={"progressDeadlineSeconds": 60})
    driver.passes(40, seconds=5)
    bad = images(driver).index("amaters:bad")
    members = driver.world.members.values()
    driver.world.leader = next(one.id for one in members if one.ordinal == bad)
    driver.world.term += 1

    driver.world.edit(image="amaters:2", upgrade={"canary": canary})

    driver.settled()
    assert images(driver) == ["amaters:2"] * replicas
    assert driver.most_down <= 1


@pytest.mark.parametrize("pod", ["orders-0", "orders-1"])
def test_a_roll_leaves_a_fenced_pod_as_it_is(driver: Driver, pod: str) -> None:
    driver.world.annotate(fenced=pod)
    driver.passes(10)

    driver.world.edit(image="amaters:2")
    driver.passes(40)

    assert pod not in replaced(driver)
    driver.world.annotate()
    driver.settled()


def test_pods_of_a_bad_revision_do_not_wait_for_one_another(driver: Driver) -> None:
    driver.world.sick_images["amaters:bad"] = SickImage(timedelta(0), Symptoms(unready=True))
    driver.world.edit(image="amaters:bad", upgrade={"progressDeadlineSeconds": 60})
    driver.passes(20, seconds=5)
    healthy = next(at for at, image in enumerate(images(driver)) if image == "amaters:1")
    driver.world.store.delete(kinds.POD, NAMESPACE, f"orders-{healthy}")
    driver.passes(10, seconds=5)
    assert images(driver).count("amaters:bad") == 2

    driver.world.edit(image="amaters:2")

    driver.settled()
    assert set(images(driver)) == {"amaters:2"}
    assert driver.most_down == 1
