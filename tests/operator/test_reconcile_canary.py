"""The canary on a world in memory: one pod proves a revision, and a bad one goes no further."""

from copy import deepcopy
from datetime import timedelta

import pytest
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.sick_images import SickImage, Symptoms
from amaters_operator.testing.world import NAME, NAMESPACE

CANARY = {"canary": {"bake": "1m"}, "progressDeadlineSeconds": 60}
LATER = timedelta(seconds=20)
UNREADY = SickImage(LATER, Symptoms(unready=True))


def condition(cluster, question: str):
    return next(one for one in cluster.status.conditions if one.type == question)


def images(driver: Driver) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in driver.world.pods()]


def evicted(driver: Driver) -> list[str]:
    return [one.split()[1] for one in driver.crash_points.changes if one.startswith("evict")]


def made(replicas: int = 3, **spec: object) -> Driver:
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=replicas, upgrade=CANARY, **spec)
    driver.settled()
    return driver


@pytest.fixture
def driver() -> Driver:
    return made()


def watched(driver: Driver, passes: int, image: str) -> int:
    """Make passes; return the most pods that were ever seen on that image at once."""
    most = 0
    for _ in range(passes):
        driver.once()
        most = max(most, images(driver).count(image))
        assert driver.world.has_quorum()
        assert driver.most_down <= 1
    return most


def refused(cluster) -> bool:
    back = condition(cluster, "RolledBack").status == "True"
    return back and cluster.status.phase == "RolledBack"


def test_one_pod_bakes_before_the_others_are_replaced(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")
    cluster = driver.until(lambda one: one.status.canary.baking_since is not None)
    since = cluster.status.canary.baking_since

    driver.until(lambda _: images(driver).count("amaters:2") > 1)

    assert driver.world.now - since >= timedelta(minutes=1)
    cluster = driver.settled()
    assert set(images(driver)) == {"amaters:2"}
    assert len(evicted(driver)) == 3
    assert cluster.status.canary.good.image == "amaters:2"
    assert cluster.status.canary.trying == cluster.status.canary.pod == ""


def test_the_status_says_that_it_bakes_and_until_when(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")
    cluster = driver.until(lambda one: one.status.canary.baking_since is not None)

    message = condition(cluster, "UpgradeInProgress").message
    assert message.startswith("1/3 updated; orders-")
    assert "bakes until 2026-03-01T12:" in message
    assert cluster.status.phase == "Upgrading"
    assert cluster.status.upgrade.progress == "1/3"
    assert condition(cluster, "RolledBack").status == "False"


@pytest.mark.parametrize(
    ("symptoms", "said"),
    [
        (Symptoms(unready=True), "it is not ready"),
        (Symptoms(out=True), "it is not ready"),
        (Symptoms(restarts=1), "its container was restarted"),
        (Symptoms(lag=5000), "it lags by"),
    ],
    ids=["unready", "out", "restarted", "lagging"],
)
def test_an_image_that_fails_after_a_while_reaches_one_pod_alone(
    driver: Driver, symptoms: Symptoms, said: str
) -> None:
    driver.world.sick_images["amaters:bad"] = SickImage(LATER, symptoms)
    driver.world.edit(image="amaters:bad")
    spec = deepcopy(driver.world.store.get(kinds.CLUSTER, NAMESPACE, NAME)["spec"])
    if symptoms.lag:
        driver.passes(15)
        driver.world.index += 6000
        for ordinal, disk in driver.world.disks.items():
            if images(driver)[ordinal] != "amaters:bad":
                disk.index = driver.world.index

    most = watched(driver, 60, "amaters:bad")

    cluster = driver.world.cluster()
    assert most == 1
    assert refused(cluster), cluster.status
    assert set(images(driver)) == {"amaters:1"}
    text = condition(cluster, "RolledBack").message
    assert text.startswith("amaters:bad was tried on orders-")
    assert said in text
    assert "the spec stays as it is" in text
    assert "amaters.io/restart=ANY_NEW_VALUE" in text
    assert condition(cluster, "Stalled").reason == "RolledBack"
    assert condition(cluster, "Ready").status == "True"
    assert driver.world.store.get(kinds.CLUSTER, NAMESPACE, NAME)["spec"] == spec
    assert len(evicted(driver)) == 2


def test_an_image_that_never_starts_returns_after_the_deadline(driver: Driver) -> None:
    driver.world.bad_images = {"amaters:none"}
    driver.world.edit(image="amaters:none")

    assert watched(driver, 60, "amaters:none") == 1

    cluster = driver.world.cluster()
    assert refused(cluster)
    assert set(images(driver)) == {"amaters:1"}
    assert "ImagePullBackOff" in condition(cluster, "RolledBack").message


def test_a_refused_spec_is_not_tried_again_and_the_operator_rests(driver: Driver) -> None:
    driver.world.sick_images["amaters:bad"] = UNREADY
    driver.world.edit(image="amaters:bad")
    driver.until(refused)
    driver.passes(3)
    before = list(driver.crash_points.changes)

    driver.passes(100)

    later = driver.crash_points.changes[len(before) :]
    assert not [one for one in later if one.startswith("evict") or one.endswith("status")]


def test_a_pod_that_dies_comes_back_on_the_last_good_revision(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")
    cluster = driver.until(lambda one: one.status.canary.baking_since is not None)
    other = next(
        f"orders-{one}" for one in range(3) if f"orders-{one}" != cluster.status.canary.pod
    )
    driver.world.store.delete(kinds.POD, NAMESPACE, other)

    driver.passes(5)

    assert images(driver).count("amaters:2") == 1


def test_a_refused_spec_stays_refused_when_pods_and_statefulset_are_deleted(
    driver: Driver,
) -> None:
    driver.world.sick_images["amaters:bad"] = UNREADY
    driver.world.edit(image="amaters:bad")
    driver.until(refused)
    driver.world.delete_statefulset()

    assert watched_until_ready(driver) == {"amaters:1"}


def watched_until_ready(driver: Driver) -> set[str]:
    driver.until(lambda one: one.status.ready == "3/3")
    return set(images(driver))


@pytest.mark.parametrize("corrected", ["amaters:1", "amaters:2"])
def test_a_corrected_spec_goes_through_at_once(driver: Driver, corrected: str) -> None:
    driver.world.sick_images["amaters:bad"] = UNREADY
    driver.world.edit(image="amaters:bad")
    driver.until(refused)
    driver.world.edit(image=corrected)

    if corrected == "amaters:2":
        driver.until(lambda _: "amaters:2" in images(driver), within=5)
    cluster = driver.settled()

    assert set(images(driver)) == {corrected}
    assert condition(cluster, "RolledBack").status == "False"
    assert cluster.status.canary.failed == ""


@pytest.mark.parametrize("corrected", ["amaters:1", "amaters:2"])
def test_a_spec_that_is_corrected_while_its_first_pod_bakes_takes_that_pod(
    driver: Driver, corrected: str
) -> None:
    driver.world.sick_images["amaters:bad"] = UNREADY
    driver.world.edit(image="amaters:bad")
    driver.until(lambda one: one.status.canary.baking_since is not None)
    first = evicted(driver)[0]
    driver.world.edit(image=corrected)

    driver.until(lambda _: len(evicted(driver)) > 1)

    assert evicted(driver)[1] == first
    driver.settled()
    assert set(images(driver)) == {corrected}
    assert driver.most_down == 1


def test_a_new_token_tries_a_refused_spec_once_more(driver: Driver) -> None:
    driver.world.sick_images["amaters:2"] = UNREADY
    driver.world.edit(image="amaters:2")
    driver.until(refused)
    driver.world.sick_images.clear()
    driver.world.annotate(restart="again")

    driver.settled()

    assert set(images(driver)) == {"amaters:2"}


def test_settings_are_held_back_with_the_image(driver: Driver) -> None:
    """A pod that dies meanwhile reads the good file; what a reload changes is current."""
    driver.world.sick_images["amaters:bad"] = UNREADY
    driver.world.edit(
        image="amaters:bad",
        config={"storage": {"memtableSizeMb": 128}, "logging": {"level": "debug"}},
    )
    cluster = driver.until(lambda one: one.status.canary.baking_since is not None)
    first = int(cluster.status.canary.pod.rpartition("-")[2])
    driver.passes(1)
    assert driver.world.started[first]["storage"]["memtable_size_mb"] == 128
    other = next(one for one in range(3) if one != first)
    driver.world.store.delete(kinds.POD, NAMESPACE, f"orders-{other}")
    driver.passes(4)
    assert driver.world.started[other]["storage"]["memtable_size_mb"] == 64

    driver.until(refused)

    assert {one["storage"]["memtable_size_mb"] for one in driver.world.started.values()} == {64}
    assert {one["logging"]["level"] for one in driver.world.configs.values()} == {"debug"}


def test_a_change_of_settings_alone_is_proven_by_one_pod_too(driver: Driver) -> None:
    driver.world.edit(config={"storage": {"memtableSizeMb": 128}})
    driver.until(lambda one: one.status.canary.baking_since is not None)
    driver.passes(5)
    sizes = [one["storage"]["memtable_size_mb"] for _, one in sorted(driver.world.started.items())]
    assert sorted(sizes) == [64, 64, 128]

    driver.settled()

    assert {one["storage"]["memtable_size_mb"] for one in driver.world.started.values()} == {128}


def test_a_canary_may_be_asked_for_with_the_first_change() -> None:
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=3)
    driver.settled()
    driver.world.sick_images["amaters:bad"] = UNREADY
    driver.world.edit(image="amaters:bad", upgrade=CANARY)

    assert watched(driver, 60, "amaters:bad") == 1

    assert refused(driver.world.cluster())
    assert set(images(driver)) == {"amaters:1"}


def test_asking_for_a_canary_alone_replaces_nothing() -> None:
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=3)
    driver.settled()
    driver.world.edit(upgrade=CANARY)

    driver.settled()

    assert evicted(driver) == []


def test_a_cluster_that_sleeps_while_a_pod_is_placed_goes_on_when_it_wakes(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")
    driver.until(lambda one: bool(one.status.canary.trying))
    driver.world.edit(hibernate=True)
    driver.passes(60)
    driver.world.edit(hibernate=False)

    driver.settled()

    assert set(images(driver)) == {"amaters:2"}


def test_dropping_the_canary_lets_a_refused_spec_through(driver: Driver) -> None:
    driver.world.sick_images["amaters:bad"] = SickImage(LATER, Symptoms(restarts=1))
    driver.world.edit(image="amaters:bad")
    driver.until(refused)
    driver.world.edit(upgrade={})

    driver.settled()

    assert set(images(driver)) == {"amaters:bad"}


def test_a_pod_that_others_delete_before_it_has_baked_is_no_failure(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")
    cluster = driver.until(lambda one: one.status.canary.baking_since is not None)
    driver.world.store.delete(kinds.POD, NAMESPACE, cluster.status.canary.pod)

    driver.settled()

    assert set(images(driver)) == {"amaters:2"}


@pytest.mark.parametrize("replicas", [1, 2])
def test_small_clusters_return_too(replicas: int) -> None:
    driver = made(replicas)
    driver.world.sick_images["amaters:bad"] = SickImage(LATER, Symptoms(out=True))
    driver.world.edit(image="amaters:bad")

    cluster = driver.until(refused)

    assert set(images(driver)) == {"amaters:1"}
    assert cluster.status.ready == f"{replicas}/{replicas}"


def test_one_approval_covers_the_first_pod_and_all_others(driver: Driver) -> None:
    driver.world.edit(image="amaters:2", upgrade=CANARY | {"approval": "Manual"})
    cluster = driver.until(lambda one: bool(one.status.plan))
    driver.passes(10)
    assert evicted(driver) == []
    plan = driver.world.cluster().status.plan
    assert plan == cluster.status.plan

    driver.world.annotate(approve=plan)
    driver.settled()

    assert set(images(driver)) == {"amaters:2"}


def test_going_back_needs_no_approval(driver: Driver) -> None:
    driver.world.sick_images["amaters:bad"] = SickImage(LATER, Symptoms(restarts=1))
    driver.world.edit(image="amaters:bad", upgrade=CANARY | {"approval": "Manual"})
    cluster = driver.until(lambda one: bool(one.status.plan))
    driver.world.annotate(approve=cluster.status.plan)

    driver.until(refused)

    assert set(images(driver)) == {"amaters:1"}


def interesting(changes: list[str]) -> list[int]:
    """Positions of changes that differ from pass to pass."""
    quiet = ("apply ConfigMap", "apply Service", "apply PodDis")
    return [at for at, what in enumerate(changes, start=1) if not what.startswith(quiet)][:40]


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("sick", [False, True], ids=["well", "sick"])
def test_it_arrives_whenever_the_operator_is_killed(sick: bool, after: bool) -> None:
    beginning = made()
    if sick:
        beginning.world.sick_images["amaters:2"] = UNREADY
    end, last = ("amaters:1", refused) if sick else ("amaters:2", None)
    calm = deepcopy(beginning)
    start = len(calm.crash_points.changes)
    calm.world.edit(image="amaters:2")
    calm.passes(12)

    for position in interesting(calm.crash_points.changes[start:]):
        driver = deepcopy(beginning)
        driver.world.edit(image="amaters:2")
        driver.crash_points.at = start + position
        driver.crash_points.after = after
        driver.passes(1)
        if last is None:
            driver.settled()
        else:
            driver.until(last)
        where = f"killed {'after' if after else 'before'} change {position}"
        assert set(images(driver)) == {end}, where
        assert driver.most_down <= 1, where
        assert driver.deaths == 1, where


@pytest.mark.parametrize("hold", ["paused", "hibernate"])
def test_a_refused_spec_stays_refused_while_the_cluster_is_held(driver: Driver, hold: str) -> None:
    driver.world.sick_images["amaters:bad"] = UNREADY
    driver.world.edit(image="amaters:bad")
    driver.until(refused)
    driver.passes(20)

    driver.world.edit(**{hold: True})
    driver.passes(20)
    driver.world.edit(**{hold: False})

    for _ in range(40):
        driver.once()
        assert "amaters:bad" not in images(driver)
    assert refused(driver.world.cluster())


@pytest.mark.parametrize("stage", ["placing", "baking"])
def test_a_canary_goes_on_after_the_cluster_has_slept(driver: Driver, stage: str) -> None:
    driver.world.edit(image="amaters:2")
    baking = stage == "baking"
    driver.until(
        lambda one: bool(one.status.canary.baking_since if baking else one.status.canary.trying)
    )

    driver.world.edit(hibernate=True)
    driver.until(lambda one: one.status.phase == "Hibernated")
    driver.passes(60)
    driver.world.edit(hibernate=False)

    cluster = driver.until(lambda one: one.status.canary.baking_since is not None)
    assert images(driver).count("amaters:2") == 1
    assert driver.world.now - cluster.status.canary.baking_since < timedelta(seconds=10)
    driver.settled()
    assert set(images(driver)) == {"amaters:2"}
