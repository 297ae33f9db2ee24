"""Whole lives of a cluster, reconciled on a world in memory."""

import pytest
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver

SHOP = "shop"


def condition(cluster, question: str):
    return next(one for one in cluster.status.conditions if one.type == question)


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.world.wish(image="amaters:1")
    return made


def test_three_pods_form_one_cluster(driver: Driver) -> None:
    cluster = driver.settled()

    assert cluster.status.ready == "3/3"
    assert cluster.status.leader in {"orders-0", "orders-1", "orders-2"}
    assert cluster.status.version == "0.3.0"
    assert cluster.status.selector.startswith("app.kubernetes.io/name=amaters")
    assert cluster.status.bootstrap.cluster_id == "cluster-1"
    assert driver.world.clusters_formed == 1
    assert condition(cluster, "Ready").message == f"{cluster.status.leader} leads 3 voting members"


def test_the_operator_rests_when_everything_is_as_wished(driver: Driver) -> None:
    driver.settled()
    driver.passes(2)
    before = len(driver.strikes.changes)

    driver.passes(1)

    assert {one.split()[0] for one in driver.strikes.changes[before:]} == {"apply"}
    assert not [one for one in driver.strikes.changes[before:] if one.endswith("status")]


def test_it_grows_and_shrinks_one_member_at_a_time(driver: Driver) -> None:
    driver.world.wish(replicas=1)
    driver.settled()
    seen = []

    for replicas in (3, 5, 3):
        driver.world.wish(replicas=replicas)
        cluster = driver.settled(within=200)
        seen.append((cluster.status.ready, sorted(one.ordinal for one in driver.world.voters)))

    assert seen == [("3/3", [0, 1, 2]), ("5/5", [0, 1, 2, 3, 4]), ("3/3", [0, 1, 2])]
    assert driver.world.clusters_formed == 1
    assert driver.world.highest_id == 5
    assert driver.most_down == 0


def test_shrinking_moves_leadership_away_first(driver: Driver) -> None:
    driver.world.wish(replicas=3)
    driver.settled()
    driver.world.leader = 3
    driver.world.wish(replicas=2)

    driver.settled()

    assert driver.world.transfers == 1
    assert driver.world.leader in driver.world.members
    assert any("pod 2 leads and is to go" in note for note in driver.notes())


def test_a_scaled_away_volume_that_is_kept_holds_growth_with_an_instruction(
    driver: Driver,
) -> None:
    driver.world.wish(replicas=3)
    driver.settled()
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    labels = driver.world.store.find(kinds.CLAIM, SHOP, {})[0]["metadata"]["labels"]
    driver.world.store.put(
        claim
        | {
            "metadata": {"name": "data-orders-3", "namespace": SHOP, "labels": labels},
            "spec": {"resources": {"requests": {"storage": "10Gi"}}},
        }
    )
    driver.world.wish(replicas=4)
    driver.passes(10)

    cluster = driver.world.cluster()
    assert "delete it by hand" in condition(cluster, "Progressing").message
    assert len(driver.world.pods()) == 3

    driver.world.store.delete(kinds.CLAIM, SHOP, "data-orders-3")
    assert driver.settled().status.ready == "4/4"


def test_a_lost_disk_is_a_new_member_under_a_new_id(driver: Driver) -> None:
    driver.settled()

    driver.world.lose_disk(1)
    driver.settled()

    assert sorted(driver.world.members) == [1, 3, 4]
    assert driver.world.members[4].ordinal == 1
    assert driver.world.clusters_formed == 1


def test_the_only_member_without_its_disk_founds_no_second_cluster(driver: Driver) -> None:
    driver.world.wish(replicas=1)
    driver.settled()

    driver.world.lose_disk(0)
    driver.passes(20)

    cluster = driver.world.cluster()
    assert driver.world.clusters_formed == 1
    assert condition(cluster, "Ready").status == "False"


def test_no_service_for_clients_before_the_backup_is_loaded(driver: Driver) -> None:
    backup = {"destination": "s3://backups/orders"}
    driver.world.wish(backup=backup, bootstrap={"restoreFrom": "s3://backups/old/1"})
    driver.database.store_fails = "the store is gone"
    driver.passes(10)

    cluster = driver.world.cluster()
    assert cluster.status.phase == "Restoring"
    assert "the store is gone" in condition(cluster, "Ready").message
    assert driver.world.store.get(kinds.SERVICE, SHOP, "orders") is None

    driver.database.store_fails = ""
    cluster = driver.settled()
    assert cluster.status.bootstrap.restored_from == "s3://backups/old/1"
    assert cluster.status.bootstrap.restored_keys == 7
    assert driver.world.store.get(kinds.SERVICE, SHOP, "orders") is not None


def test_what_the_operator_cannot_reach_is_not_dead(driver: Driver) -> None:
    driver.settled()
    driver.world.wish(image="amaters:2")
    driver.world.unreachable = {0, 1, 2}
    before = {pod["metadata"]["uid"] for pod in driver.world.pods()}

    driver.passes(30)

    cluster = driver.world.cluster()
    assert {pod["metadata"]["uid"] for pod in driver.world.pods()} == before
    assert condition(cluster, "Ready").status == "Unknown"
    assert condition(cluster, "Ready").reason == "NotReachable"


def test_a_silent_api_server_stops_nothing_and_is_survived(driver: Driver) -> None:
    driver.settled()
    driver.kube.down = True
    driver.passes(5)
    driver.kube.down = False

    assert driver.settled().status.ready == "3/3"


def test_volumes_grow_and_the_claim_template_stays(driver: Driver) -> None:
    driver.settled()

    driver.world.wish(storage={"size": "20Gi"})
    driver.settled()

    claims = driver.world.store.find(kinds.CLAIM, SHOP, {})
    sizes = {claim["spec"]["resources"]["requests"]["storage"] for claim in claims}
    assert sizes == {"20Gi"}
    statefulset = driver.world.store.get(kinds.STATEFUL_SET, SHOP, "orders")
    template = statefulset["spec"]["volumeClaimTemplates"][0]
    assert template["spec"]["resources"]["requests"]["storage"] == "10Gi"


def test_objects_of_strangers_are_left_alone(driver: Driver) -> None:
    stranger = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "orders", "namespace": SHOP},
        "spec": {"replicas": 0, "template": {}},
    }
    driver.world.store.put(stranger)

    driver.passes(1)

    assert driver.strikes.changes == ["create Event NameTaken"]


def test_a_spec_that_cannot_be_read_changes_nothing_and_says_so(driver: Driver) -> None:
    driver.settled()
    before = {pod["metadata"]["uid"] for pod in driver.world.pods()}
    driver.world.wish(replicas=77)

    driver.passes(3)

    status = driver.world.store.get(kinds.CLUSTER, SHOP, "orders")["status"]
    assert status["phase"] == "Invalid"
    assert "replicas" in status["conditions"][0]["message"]
    assert {pod["metadata"]["uid"] for pod in driver.world.pods()} == before


def test_monitors_appear_with_the_prometheus_operator(driver: Driver) -> None:
    driver.settled()
    assert driver.world.store.get(kinds.MONITOR, SHOP, "orders") is None

    driver.kube.monitors = True
    driver.passes(1)
    assert driver.world.store.get(kinds.MONITOR, SHOP, "orders") is not None

    driver.world.wish(monitoring={"enabled": False})
    driver.passes(1)
    assert driver.world.store.get(kinds.MONITOR, SHOP, "orders") is None
