"""Objects of others that have a cluster's names: never changed, never deleted, all of them named."""

import pytest
from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.kube import kinds
from amaters_operator.manifests.names import Manifest
from amaters_operator.testing import Driver
from amaters_operator.testing.driver import HOME
from amaters_operator.testing.objects import StoredObject, place_of
from amaters_operator.testing.world import NAMESPACE

SPEC = {"image": "amaters:1", "replicas": 3, "networkPolicy": {"enabled": True}}
OFF = {
    "networkPolicy": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "monitoring": {"enabled": False},
}


def every_object() -> list[Manifest]:
    """Return every object that the operator makes of a cluster."""
    cluster = AmatersCluster.model_validate(
        {"metadata": {"name": "orders", "namespace": NAMESPACE, "uid": "another"}, "spec": SPEC}
    )
    members = manifests.initial_members(cluster)
    shape = manifests.Shape(3, members, formed=False, volume_size="1Gi", home=HOME)
    return manifests.desired(cluster, shape, monitors=True)


def called(made: Manifest) -> str:
    return f"{made['kind']} {made['metadata']['name']}"


EVERY = {called(made): made for made in every_object()}


def of_others(made: Manifest, *, owner: str = "") -> Manifest:
    """Return an object of that kind and name which somebody else made."""
    owners = [
        {"apiVersion": "v1", "kind": "Shop", "name": "corner", "uid": owner, "controller": True}
    ]
    meta = {"name": made["metadata"]["name"], "namespace": NAMESPACE, "labels": {"theirs": "yes"}}
    return {
        "apiVersion": made["apiVersion"],
        "kind": made["kind"],
        "metadata": meta | ({"ownerReferences": owners} if owner else {}),
        **({"spec": _spec(made["kind"])} if "spec" in made else {}),
    }


def _spec(kind: str) -> Manifest:
    selector = {"matchLabels": {"theirs": "yes"}}
    if kind == "StatefulSet":
        return {"replicas": 0, "selector": selector, "template": {"metadata": {}, "spec": {}}}
    return {"selector": selector}


def untouched(entry: StoredObject) -> Manifest:
    """Return what only its owner writes: controllers of Kubernetes fill in the status."""
    assert entry.applied == {}
    whole = entry.whole()
    whole["metadata"].pop("resourceVersion")
    return {key: part for key, part in whole.items() if key != "status"}


def stalled(driver: Driver) -> str:
    conditions = driver.world.cluster().status.conditions
    [found] = [one for one in conditions if one.type == "Stalled" and one.status == "True"]
    assert found.reason == "NameTaken"
    return found.message


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.kube.monitors = True
    return made


def test_the_list_is_whole() -> None:
    kinds_made = {made["kind"] for made in EVERY.values()}

    assert kinds_made == {
        *("ServiceAccount", "ConfigMap", "Service", "PodDisruptionBudget"),
        *("NetworkPolicy", "ServiceMonitor", "StatefulSet"),
    }


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("owner", ["", "uid-of-a-shop"])
def test_what_was_there_first_stays_as_it_is_and_is_named(
    driver: Driver, name: str, owner: str
) -> None:
    entry = driver.world.store.put(of_others(EVERY[name], owner=owner))
    before = untouched(entry)
    driver.world.edit(**SPEC)
    driver.passes(6)

    assert untouched(entry) == before
    assert f"{name} exists and belongs to {'Shop corner' if owner else 'another owner'}" in (
        stalled(driver)
    )
    assert driver.world.pods() == [], "nothing is built beside it"

    driver.world.store.delete(*place_of(before))
    assert driver.settled().status.ready == "3/3"


def test_all_of_them_are_named_at_once(driver: Driver) -> None:
    for made in EVERY.values():
        driver.world.store.put(of_others(made))
    driver.world.edit(**SPEC)
    driver.passes(3)

    assert [name for name in EVERY if f"{name} exists" not in stalled(driver)] == []


@pytest.mark.parametrize("name", [name for name in EVERY if not name.startswith("StatefulSet")])
def test_what_replaces_an_object_of_ours_later_stays_as_it_is_too(
    driver: Driver, name: str
) -> None:
    driver.world.edit(**SPEC)
    driver.settled()
    driver.world.store.delete(*place_of(EVERY[name]))
    entry = driver.world.store.put(of_others(EVERY[name]))
    before = untouched(entry)
    driver.passes(6)

    assert untouched(entry) == before
    assert f"{name} exists" in stalled(driver)
    assert len(driver.world.pods()) == 3, "what runs goes on"


@pytest.mark.parametrize(
    "name",
    [name for name in EVERY if name.split()[0] in {"NetworkPolicy", "ServiceMonitor"}]
    + ["PodDisruptionBudget orders"],
)
def test_what_is_switched_off_is_deleted_only_if_it_is_ours(driver: Driver, name: str) -> None:
    entry = driver.world.store.put(of_others(EVERY[name]))
    before = entry.whole()
    driver.world.edit(image="amaters:1", replicas=1, **OFF)
    driver.settled()
    driver.passes(3)

    assert driver.world.store.get(*place_of(before)) == before


def test_an_object_that_changes_hands_after_it_was_read_is_not_taken_over(driver: Driver) -> None:
    """Between the look and the write another one may be made under the name."""
    driver.world.edit(**SPEC)
    driver.settled()
    name = "PodDisruptionBudget orders"
    entry = None

    async def read(kind, namespace, wanted):
        nonlocal entry
        found = driver.world.store.get(kind, namespace, wanted)
        if kind == kinds.BUDGET and entry is None and found is not None:
            driver.world.store.delete(kind, namespace, wanted)
            entry = driver.world.store.put(of_others(EVERY[name]))
        return found

    driver.kube.get = read
    driver.once()

    assert entry is not None
    assert not entry.applied
    assert entry.whole()["metadata"]["labels"] == {"theirs": "yes"}
