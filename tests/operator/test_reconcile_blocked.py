"""What the operator may not do, and what it cannot: said once, with the way out, while the rest goes on."""

import base64

import pytest
from amaters_operator.kube import kinds
from amaters_operator.kube.errors import (
    ApiRejectedError,
    ApiUnreachableError,
    ForbiddenError,
    KubeError,
)
from amaters_operator.testing import Driver

SHOP = "shop"
INVALID = ApiRejectedError(
    'cannot apply StatefulSet shop/orders: StatefulSet.apps "orders" is invalid: '
    'spec.template.spec.containers[0].resources.requests: Invalid value: "512Mi": must be less '
    "than or equal to memory limit of 256Mi (HTTP 422)"
)
QUOTA = ForbiddenError(
    'cannot apply StatefulSet shop/orders: statefulsets.apps "orders" is forbidden: exceeded '
    "quota: small, requested: count/statefulsets.apps=1 (HTTP 403)"
)
WEBHOOK = ApiRejectedError(
    'cannot apply StatefulSet shop/orders: admission webhook "policy.example.com" denied the '
    "request: images must come from registry.example (HTTP 400)"
)
WEBHOOK_DOWN = ApiUnreachableError(
    'cannot apply StatefulSet shop/orders: Internal error occurred: failed calling webhook "a": '
    "connection refused (HTTP 500)"
)
ANSWERS = [
    (INVALID, "Stalled", "Correct spec.resources"),
    (QUOTA, "Stalled", "Raise that quota"),
    (WEBHOOK, "Stalled", "Change what that webhook refuses"),
    (WEBHOOK_DOWN, "Reconciling", "Change what that webhook refuses, or the webhook"),
]


def condition(cluster, question: str):
    return next(one for one in cluster.status.conditions if one.type == question)


def reported(driver: Driver, reason: str) -> list[str]:
    return [one for one in driver.events() if one.startswith(f"{reason}:")]


def uids(driver: Driver) -> set[str]:
    return {pod["metadata"]["uid"] for pod in driver.world.pods()}


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.world.edit(image="amaters:1", replicas=3)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "question", "advice"), ANSWERS)
def test_a_refused_change_is_a_condition_and_what_runs_stays_ready(
    driver: Driver, answer: KubeError, question: str, advice: str
) -> None:
    driver.settled()
    before = uids(driver)
    driver.kube.refusals["StatefulSet orders"] = answer
    driver.world.edit(image="amaters:2")
    driver.passes(5)

    cluster = driver.world.cluster()
    said = condition(cluster, question)
    assert condition(cluster, "Ready").status == "True"
    assert cluster.status.phase == "Running"
    assert (said.status, said.reason) == ("True", "Refused")
    assert said.observed_generation == cluster.metadata.generation
    assert str(answer).rstrip(".") in said.message
    assert advice in said.message
    assert uids(driver) == before
    assert len(reported(driver, "Refused")) == (question == "Stalled")

    driver.kube.refusals.clear()
    assert driver.settled().status.image == "amaters:2"


@pytest.mark.parametrize(("answer", "question", "advice"), ANSWERS)
def test_a_cluster_that_is_refused_from_the_start_says_so(
    driver: Driver, answer: KubeError, question: str, advice: str
) -> None:
    driver.kube.refusals["StatefulSet orders"] = answer
    driver.passes(4)

    cluster = driver.world.cluster()
    assert condition(cluster, "Ready").status == "False"
    assert advice in condition(cluster, question).message
    assert len(reported(driver, "Refused")) == (question == "Stalled")

    driver.kube.refusals.clear()
    assert driver.settled().status.ready == "3/3"


@pytest.mark.parametrize("refused", ["Service orders", "PodDisruptionBudget orders"])
def test_an_object_that_is_refused_keeps_none_of_the_others_away(
    driver: Driver, refused: str
) -> None:
    driver.kube.refusals[refused] = ApiRejectedError(f"cannot apply {refused}: no (HTTP 422)")
    cluster = driver.until(lambda one: condition(one, "Ready").status == "True")

    assert cluster.status.ready == "3/3"
    assert refused in condition(cluster, "Stalled").message


@pytest.mark.parametrize(
    "needed", ["ConfigMap orders-config", "ServiceAccount orders", "Service orders-peers"]
)
def test_no_pod_is_changed_to_need_what_is_refused(driver: Driver, needed: str) -> None:
    driver.settled()
    before = uids(driver)
    driver.kube.refusals[needed] = QUOTA
    driver.world.edit(image="amaters:2")
    driver.passes(8)

    cluster = driver.world.cluster()
    assert uids(driver) == before
    assert cluster.status.image == "amaters:1"
    assert condition(cluster, "Stalled").reason == "Refused"

    driver.kube.refusals.clear()
    assert driver.settled().status.image == "amaters:2"


def test_what_is_refused_stops_no_healing(driver: Driver) -> None:
    driver.settled()
    driver.kube.refusals["StatefulSet orders"] = INVALID
    driver.world.lose_disk(1)
    driver.passes(15)

    assert sorted(driver.world.members) == [1, 3, 4]
    assert condition(driver.world.cluster(), "Stalled").reason == "Refused"


def test_another_refusal_is_reported_again_and_the_same_is_not(driver: Driver) -> None:
    driver.settled()
    for answer in (INVALID, INVALID, WEBHOOK, WEBHOOK):
        driver.kube.refusals["StatefulSet orders"] = answer
        driver.passes(3)

    assert len(reported(driver, "Refused")) == 2


def second_budget(driver: Driver, **selector: object) -> None:
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
    meta = {"name": "extra", "namespace": SHOP}
    driver.world.store.put(budget | {"metadata": meta, "spec": {"selector": selector}})


def test_two_budgets_over_the_pods_are_both_named_while_they_stop_a_roll(driver: Driver) -> None:
    driver.settled()
    second_budget(driver, matchLabels={"app.kubernetes.io/instance": "orders"})
    driver.world.edit(image="amaters:2")
    driver.passes(10)

    cluster = driver.world.cluster()
    said = condition(cluster, "Stalled")
    assert (said.status, said.reason) == ("True", "TwoDisruptionBudgets")
    assert "the PodDisruptionBudgets extra and orders all cover the pods" in said.message
    assert "delete all but one" in said.message
    assert condition(cluster, "Ready").status == "True"
    drains, stopped = reported(driver, "TwoDisruptionBudgets")
    assert "no node can be drained" in drains
    assert "Until then no pod is replaced" in stopped

    driver.world.store.delete(kinds.BUDGET, SHOP, "extra")
    assert driver.settled().status.image == "amaters:2"


def test_two_budgets_are_named_before_a_drain_meets_them(driver: Driver) -> None:
    driver.settled()
    second_budget(
        driver,
        matchExpressions=[
            {"key": "app.kubernetes.io/instance", "operator": "In", "values": ["orders"]}
        ],
    )
    driver.passes(5)

    cluster = driver.world.cluster()
    assert "so no node can be drained" in condition(cluster, "Reconciling").message
    assert condition(cluster, "Stalled").status == "False"
    assert len(reported(driver, "TwoDisruptionBudgets")) == 1


def test_a_budget_over_other_pods_is_none_of_ours(driver: Driver) -> None:
    driver.settled()
    second_budget(driver, matchLabels={"app": "other"})
    driver.world.edit(image="amaters:2")

    assert driver.settled().status.image == "amaters:2"
    assert reported(driver, "TwoDisruptionBudgets") == []


def test_a_class_that_cannot_grow_is_said_once_and_the_size_can_be_taken_back(
    driver: Driver,
) -> None:
    before = driver.settled()
    no = ForbiddenError("cannot apply: the storageclass must support resize (HTTP 403)")
    for ordinal in range(3):
        driver.kube.refusals[f"PersistentVolumeClaim data-orders-{ordinal}"] = no
    driver.world.edit(storage={"size": "20Gi"})
    driver.passes(6)

    cluster = driver.world.cluster()
    said = condition(cluster, "Stalled")
    assert (said.status, said.reason) == ("True", "VolumeNotGrown")
    assert "must support resize" in said.message
    assert "or return spec.storage.size to 10Gi" in said.message
    assert condition(cluster, "Ready").status == "True"
    assert (before.status.volume_size, cluster.status.volume_size) == ("10Gi", "10Gi")
    assert len(reported(driver, "VolumeNotGrown")) == 1

    driver.world.edit(storage={"size": "10Gi"})
    assert condition(driver.settled(), "Stalled").status == "False"


def test_volumes_that_have_yet_to_grow_are_named(driver: Driver) -> None:
    driver.settled()
    driver.world.volumes.grow = False
    driver.world.edit(storage={"size": "20Gi"})
    driver.passes(4)

    cluster = driver.world.cluster()
    assert cluster.status.volume_size == "10Gi"
    assert (
        "data-orders-0, data-orders-1, data-orders-2" in condition(cluster, "Reconciling").message
    )


@pytest.mark.slow
def test_a_restore_that_fails_is_reported_once_and_stops_neither_rolls_nor_healing(
    driver: Driver,
) -> None:
    backup = {"destination": "s3://backups/orders"}
    driver.world.edit(backup=backup, bootstrap={"restoreFrom": "s3://backups/old/1"})
    driver.database.store_fails = "access denied"
    driver.passes(20)
    driver.world.edit(image="amaters:2")
    driver.until(lambda one: one.status.image == "amaters:2")
    driver.world.lose_disk(1)
    driver.passes(40)

    cluster = driver.world.cluster()
    assert sorted(driver.world.members) == [1, 3, 4]
    assert "access denied" in condition(cluster, "Ready").message
    assert len(reported(driver, "RestoreFailed")) == 1
    assert 1 < cluster.status.restore.failures < 6

    driver.database.store_fails = ""
    driver.world.edit(backup=backup | {"region": "eu-1"})
    cluster = driver.settled()
    assert cluster.status.bootstrap.restored_keys == 7
    assert cluster.status.restore.failures == 0


def pager(url: str) -> dict:
    data = {"url": base64.b64encode(url.encode()).decode()}
    meta = {"name": "pager", "namespace": SHOP}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}


def test_a_webhook_secret_is_reported_while_it_is_unusable_and_corrected_without_a_roll(
    driver: Driver,
) -> None:
    driver.world.edit(alerts={"webhookSecretName": "pager"})
    driver.until(lambda one: one.status.ready == "3/3")
    driver.passes(3)
    missing = condition(driver.world.cluster(), "Stalled")
    driver.world.store.put(pager("hunter2"))
    driver.passes(2)
    wrong = condition(driver.world.cluster(), "Stalled")
    before = {pod["metadata"]["uid"] for pod in driver.world.pods()}
    driver.world.store.put(pager("https://pager.example/hunter2"))
    cluster = driver.settled()

    assert (missing.status, missing.reason) == ("True", "WebhookSecretUnusable")
    assert "Secret pager of spec.alerts.webhookSecretName is missing: write" in missing.message
    assert "holds no address" in wrong.message
    assert "hunter2" not in str(cluster.status) + str(driver.events())
    assert {pod["metadata"]["uid"] for pod in driver.world.pods()} == before
