"""Rolls with one more member: every voter that is up stays up, whatever dies besides."""

from copy import deepcopy
from datetime import timedelta

import pytest
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.sick_images import SickImage, Symptoms
from amaters_operator.testing.world import NAMESPACE

SURGE = {"maxSurge": 1}


def images(driver: Driver) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in driver.world.pods()]


def made(replicas: int) -> Driver:
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=replicas, upgrade=SURGE)
    driver.settled()
    return driver


def done(driver: Driver, replicas: int = 3, *, within: int = 300) -> None:
    cluster = driver.settled(within=within)
    assert images(driver) == ["amaters:2"] * replicas
    assert sorted(one.ordinal for one in driver.world.voters) == list(range(replicas))
    assert cluster.status.surge == ""


def changes(driver: Driver, first: str) -> list[str]:
    return [one for one in driver.crash_points.changes if one.startswith(first)]


@pytest.mark.parametrize("replicas", [1, 3])
def test_no_voter_is_ever_down(replicas: int) -> None:
    driver = made(replicas)
    driver.world.edit(image="amaters:2")
    for _ in range(200):
        driver.once()
        assert all(driver.world.participates(one) for one in driver.world.voters)
        assert len(driver.world.voters) >= replicas

    done(driver, replicas)
    assert driver.most_down == 0
    assert len(changes(driver, "evict")) == replicas


def test_the_extra_pod_is_of_the_new_version_and_in_the_status() -> None:
    driver = made(3)
    driver.world.edit(image="amaters:2")

    cluster = driver.until(lambda one: one.status.replicas == 4)

    assert images(driver) == ["amaters:1"] * 3 + ["amaters:2"]
    assert cluster.status.surge == "orders-3"


def test_without_it_no_member_is_added() -> None:
    driver = made(3)
    driver.world.edit(image="amaters:2", upgrade={})

    driver.settled()

    assert changes(driver, "add member") == []


def test_nothing_is_added_while_the_roll_waits_for_an_approval() -> None:
    driver = made(3)
    driver.world.edit(image="amaters:2", upgrade=SURGE | {"approval": "Manual"})
    driver.passes(10)
    assert changes(driver, "add member") == []
    plan = driver.world.cluster().status.plan

    driver.world.annotate(approve=plan)

    done(driver)


def test_a_volume_without_room_for_two_copies_holds_the_roll_and_says_so() -> None:
    driver = made(3)
    for disk in driver.world.disks.values():
        disk.used = 6 * 1024**3
    driver.world.edit(image="amaters:2")
    driver.passes(60)
    assert changes(driver, "evict") == []
    assert changes(driver, "remove") == []
    assert any(one.startswith("SurgeNeedsRoom: orders-") for one in driver.events())

    driver.world.edit(upgrade={})

    done(driver)


def test_another_version_in_the_middle_ends_in_that() -> None:
    driver = made(3)
    driver.world.edit(image="amaters:3")
    driver.until(lambda _: len(changes(driver, "evict")) == 2, within=200)
    driver.world.edit(image="amaters:2")

    done(driver)
    assert driver.most_down == 0


def test_switching_it_off_in_the_middle_removes_the_extra_member() -> None:
    driver = made(3)
    driver.world.edit(image="amaters:2")
    driver.until(lambda _: len(changes(driver, "evict")) == 1, within=200)
    driver.world.edit(upgrade={})

    done(driver)
    assert driver.most_down <= 1


@pytest.mark.parametrize("replicas", [1, 5])
def test_another_size_in_the_middle_is_reached_too(replicas: int) -> None:
    driver = made(3)
    driver.world.edit(image="amaters:2")
    driver.until(lambda one: one.status.replicas == 4, within=200)
    driver.world.edit(replicas=replicas)

    done(driver, replicas, within=600)


def test_with_a_canary_the_others_wait_for_its_proof() -> None:
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=3, upgrade=SURGE | {"canary": {"bake": "1m"}})
    driver.settled()
    driver.world.edit(image="amaters:2")

    done(driver)


def test_one_roll_after_another_uses_the_same_extra_pod() -> None:
    driver = made(3)
    driver.world.edit(image="amaters:3")
    driver.settled(within=300)
    driver.world.edit(image="amaters:2")

    done(driver)


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [3])
def test_any_one_pod_may_die_at_any_step(replicas: int) -> None:
    beginning = made(replicas)
    beginning.world.edit(image="amaters:2")
    step = 0
    while step < 150:
        if (
            images(beginning) == ["amaters:2"] * replicas
            and not beginning.world.cluster().status.surge
        ):
            break
        for ordinal in range(len(beginning.world.pods())):
            driver = deepcopy(beginning)
            driver.world.store.delete(kinds.POD, NAMESPACE, f"orders-{ordinal}")
            assert driver.world.has_quorum(), f"pod {ordinal} dies before pass {step}"
            if step % 5 == 0:
                for _ in range(40):
                    driver.once()
                    assert driver.world.has_quorum(), f"pod {ordinal} died before pass {step}"
                done(driver, replicas)
        beginning.once()
        step += 1
    assert 30 < step < 150


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("replicas", [1, 3])
def test_it_arrives_whenever_the_operator_is_killed(replicas: int, after: bool) -> None:
    beginning = made(replicas)
    beginning.world.edit(image="amaters:2")
    calm = deepcopy(beginning)
    start = len(calm.crash_points.changes)
    done(calm, replicas)
    quiet = ("apply ConfigMap", "apply Service", "apply PodDis", "apply Stateful", "record")
    all_changes = calm.crash_points.changes[start:]
    points = [at for at, one in enumerate(all_changes, 1) if not one.startswith(quiet)]

    for position in points[:: max(1, len(points) // 40)]:
        driver = deepcopy(beginning)
        driver.crash_points.at, driver.crash_points.after = start + position, after
        driver.passes(1)
        done(driver, replicas)
        assert driver.most_down == 0, f"killed at change {position}"
        assert driver.deaths == 1


def test_copies_that_a_roll_leaves_behind_are_gone_within_minutes() -> None:
    """They once stayed for the whole quarantine: some rolls in three days filled the volumes."""
    driver = made(3)
    driver.world.edit(image="amaters:2")
    done(driver)
    for _ in range(40):
        driver.once(20)

    cluster = driver.world.cluster()
    assert cluster.status.quarantine == []
    assert [disk.aside for disk in driver.world.disks.values()] == [[]] * 3
    assert len(driver.world.store.find(kinds.CLAIM, NAMESPACE, {})) == 3


def test_a_member_that_a_person_removed_is_kept_for_its_whole_quarantine_beside_a_roll() -> None:
    driver = made(4)
    driver.world.edit(replicas=3)
    driver.settled(within=300)
    kept = {one.member: one.until for one in driver.world.cluster().status.quarantine}
    driver.world.edit(image="amaters:2")
    done(driver)
    for _ in range(40):
        driver.once(20)

    left = {one.member: one.until for one in driver.world.cluster().status.quarantine}
    assert kept
    assert left.items() >= kept.items()


@pytest.mark.parametrize("hold", ["paused", "hibernate"])
def test_a_cluster_that_is_held_keeps_its_extra_pod(hold: str) -> None:
    driver = made(3)
    driver.world.edit(image="amaters:2")
    driver.until(lambda one: one.status.replicas == 4 and len(driver.world.voters) == 4)

    driver.world.edit(**{hold: True})
    driver.passes(20)

    assert driver.world.cluster().status.surge == "orders-3"
    driver.world.edit(**{hold: False})
    done(driver)


def test_a_pod_that_takes_no_part_is_replaced_in_its_place() -> None:
    driver = made(3)
    driver.world.sick_images["amaters:bad"] = SickImage(timedelta(0), Symptoms(out=True))
    driver.world.edit(image="amaters:bad", upgrade={"progressDeadlineSeconds": 60})
    driver.until(lambda _: "amaters:bad" in images(driver))
    driver.passes(30, seconds=5)

    driver.world.edit(image="amaters:2", upgrade=SURGE)

    done(driver)
    assert driver.most_down == 1
