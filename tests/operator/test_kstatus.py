"""What `kubectl wait`, Flux and kpt read: the status computed as kstatus computes it.

The rules are those of sigs.k8s.io/cli-utils/pkg/kstatus for objects it has no special rules for:
deletion, generation, `Reconciling`, `Stalled`, then `Ready`.
"""

from datetime import timedelta

import pytest
from amaters_operator.api.status import Phase
from amaters_operator.kube import kinds
from amaters_operator.kube.errors import ApiRejectedError
from amaters_operator.testing import Driver
from amaters_operator.testing.sick_images import SickImage, Symptoms
from amaters_operator.testing.world import NAME, NAMESPACE


def kstatus(raw: dict) -> str:
    meta, status = raw["metadata"], raw.get("status") or {}
    if meta.get("deletionTimestamp"):
        return "Terminating"
    if "observedGeneration" in status and status["observedGeneration"] != meta["generation"]:
        return "InProgress"
    conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    ready = conditions.get("Ready")
    return "Current" if ready == "True" else "InProgress"


def raw(driver: Driver) -> dict:
    return driver.world.store.get(kinds.CLUSTER, NAMESPACE, NAME)


def now(driver: Driver) -> str:
    return kstatus(raw(driver))


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.world.edit(replicas=3)
    return made


def test_a_cluster_is_in_progress_until_it_serves_and_then_current(driver: Driver) -> None:
    driver.once()
    assert now(driver) == "InProgress"

    driver.settled()
    assert now(driver) == "Current"


def test_an_edit_is_in_progress_from_its_first_moment_until_it_is_done(driver: Driver) -> None:
    driver.settled()

    driver.world.edit(image="amaters:2")
    seen = [now(driver)]
    while driver.world.cluster().status.image != "amaters:2" or not all(
        one.updated and one.ready for one in driver.world.cluster().status.members
    ):
        driver.once()
        seen.append(now(driver))

    assert set(seen) <= {"InProgress", "Current"}
    assert "Current" not in seen[:-1], "called done before it was"
    driver.settled()
    assert now(driver) == "Current"


def slow(driver: Driver, *images: str) -> None:
    """Let nodes of these images need ten seconds until their pods are ready."""
    late = SickImage(ends=timedelta(seconds=10), symptoms=Symptoms(unready=True))
    driver.world.sick_images |= dict.fromkeys(images, late)


def test_a_new_cluster_is_in_progress_until_every_pod_is_ready(driver: Driver) -> None:
    slow(driver, driver.world.cluster().spec.image)

    driver.until(lambda one: one.status.bootstrap.cluster_id != "")
    driver.once()

    status = driver.world.cluster().status
    assert status.ready_replicas < 3
    assert (now(driver), status.phase) == ("InProgress", Phase.CREATING)
    driver.until(lambda one: one.status.ready_replicas == 3)
    driver.once()
    assert (now(driver), driver.world.cluster().status.phase) == ("Current", Phase.RUNNING)


def test_a_roll_is_in_progress_until_its_last_pod_is_ready(driver: Driver) -> None:
    driver.settled()
    slow(driver, "amaters:2")
    driver.world.edit(image="amaters:2")

    seen = [(now(driver), driver.world.cluster().status.upgrade.progress)]
    while seen[-1] != ("Current", "3/3"):
        driver.once()
        seen.append((now(driver), driver.world.cluster().status.upgrade.progress))
        assert len(seen) < 200

    assert ("InProgress", "2/3") in seen
    assert {progress for state, progress in seen if state == "Current"} == {"3/3"}


def test_a_pod_that_dies_later_is_no_progress(driver: Driver) -> None:
    driver.settled()
    slow(driver, driver.world.cluster().spec.image)
    driver.world.store.delete(kinds.POD, NAMESPACE, "orders-2")
    driver.once()
    driver.once()

    assert driver.world.cluster().status.phase is Phase.DEGRADED
    assert now(driver) == "Current"


def test_what_needs_a_person_has_failed(driver: Driver) -> None:
    driver.settled()
    driver.kube.refusals["StatefulSet orders"] = ApiRejectedError("no (HTTP 422)")
    driver.world.edit(image="amaters:2")
    driver.passes(3)

    assert now(driver) == "Failed"


@pytest.mark.parametrize("spec", [{"image": 3}, {"replicas": "many"}])
def test_a_spec_that_cannot_be_read_has_failed_and_is_not_in_progress_for_ever(
    driver: Driver, spec: dict
) -> None:
    driver.settled()
    driver.world.edit(**spec)
    driver.passes(2)

    assert now(driver) == "Failed"
    assert raw(driver)["status"]["observedGeneration"] == raw(driver)["metadata"]["generation"]


def test_a_name_that_is_taken_has_failed(driver: Driver) -> None:
    driver.world.store.put(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {},
        }
    )
    driver.passes(2)

    assert now(driver) == "Failed"
    assert raw(driver)["status"]["observedGeneration"] == raw(driver)["metadata"]["generation"]


def test_conditions_have_every_field_that_the_conventions_ask_for(driver: Driver) -> None:
    driver.settled()

    for one in raw(driver)["status"]["conditions"]:
        assert set(one) == {
            *("type", "status", "reason", "message"),
            *("observedGeneration", "lastTransitionTime"),
        }
        assert one["reason"].isalnum()
        assert one["reason"][0].isupper()
        assert one["observedGeneration"] == raw(driver)["metadata"]["generation"]


def test_the_ready_column_counts_what_the_spec_asks_for(driver: Driver) -> None:
    driver.settled()
    driver.world.edit(replicas=5)
    driver.once()

    assert raw(driver)["status"]["ready"] == "3/5"
    assert driver.settled().status.ready == "5/5"
