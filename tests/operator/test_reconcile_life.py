"""Whole lives of a cluster, reconciled on a world in memory."""

import asyncio
import random

import pytest
from amaters_operator.api.scalars import timestamp_text
from amaters_operator.controllers.cluster import ClusterController
from amaters_operator.kube import kinds
from amaters_operator.manifests.names import Manifest
from amaters_operator.testing import Driver, FakeKube
from amaters_operator.testing.world import NAME, NAMESPACE

SHOP = "shop"


def condition(cluster, question: str):
    return next(one for one in cluster.status.conditions if one.type == question)


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.world.edit(image="amaters:1")
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


def test_the_operator_rests_when_everything_is_reconciled(driver: Driver) -> None:
    driver.settled()
    driver.passes(2)
    before = len(driver.crash_points.changes)

    driver.passes(1)

    assert {one.split()[0] for one in driver.crash_points.changes[before:]} == {"apply"}
    assert not [one for one in driver.crash_points.changes[before:] if one.endswith("status")]


def test_a_pass_reads_and_applies_the_statefulset_once(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.settled()
    read, get = [], type(driver.kube).get

    async def counted(self: FakeKube, kind: kinds.Kind, namespace: str, name: str) -> Manifest:
        read.append(kind)
        return await get(self, kind, namespace, name)

    monkeypatch.setattr(FakeKube, "get", counted)
    before = len(driver.crash_points.changes)
    controller = ClusterController(driver.kube, driver.database, instance="test")
    asyncio.run(controller.reconcile(NAMESPACE, NAME))

    assert read.count(kinds.STATEFUL_SET) == 1
    assert driver.crash_points.changes[before:].count("apply StatefulSet orders") == 1


@pytest.mark.slow
def test_it_grows_and_shrinks_one_member_at_a_time(driver: Driver) -> None:
    driver.world.edit(replicas=1)
    driver.settled()
    observed = []

    for replicas in (3, 5, 3):
        driver.world.edit(replicas=replicas)
        cluster = driver.settled(within=200)
        observed.append((cluster.status.ready, sorted(one.ordinal for one in driver.world.voters)))

    assert observed == [("3/3", [0, 1, 2]), ("5/5", [0, 1, 2, 3, 4]), ("3/3", [0, 1, 2])]
    assert driver.world.clusters_formed == 1
    assert driver.world.highest_id == 5
    assert driver.most_down == 0


def test_shrinking_moves_leadership_away_first(driver: Driver) -> None:
    driver.world.edit(replicas=3)
    driver.settled()
    driver.world.leader = 3
    driver.world.edit(replicas=2)

    driver.settled()

    assert driver.world.transfers == 1
    assert driver.world.leader in driver.world.members
    assert any(f"{NAME}-2 leads and is removed" in note for note in driver.events())


def test_a_volume_of_an_unknown_cluster_holds_growth_with_an_instruction(
    driver: Driver,
) -> None:
    driver.world.edit(replicas=3, storage={"size": "10Gi", "whenScaled": "Retain"})
    driver.settled()
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    labels = driver.world.store.find(kinds.CLAIM, SHOP, {})[0]["metadata"]["labels"]
    driver.world.store.put(
        claim
        | {
            "metadata": {
                "name": "data-orders-3",
                "namespace": SHOP,
                "labels": labels,
                "annotations": {"amaters.io/member": "cluster-0/4"},
            },
            "spec": {"resources": {"requests": {"storage": "10Gi"}}},
        }
    )
    driver.world.edit(replicas=4)
    driver.passes(10)

    cluster = driver.world.cluster()
    assert "delete it by hand" in condition(cluster, "Reconciling").message
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


@pytest.mark.slow
def test_the_only_member_without_its_disk_founds_no_second_cluster(driver: Driver) -> None:
    driver.world.edit(replicas=1)
    driver.settled()

    driver.world.lose_disk(0)
    driver.passes(20)

    cluster = driver.world.cluster()
    assert driver.world.clusters_formed == 1
    assert condition(cluster, "Ready").status == "False"


@pytest.mark.slow
def test_no_service_for_clients_before_the_backup_is_loaded(driver: Driver) -> None:
    backup = {"destination": "s3://backups/orders"}
    driver.world.edit(backup=backup, bootstrap={"restoreFrom": "s3://backups/old/1"})
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


@pytest.mark.slow
def test_what_the_operator_cannot_reach_is_not_dead(driver: Driver) -> None:
    driver.settled()
    driver.world.edit(image="amaters:2")
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

    driver.world.edit(storage={"size": "20Gi"})
    driver.settled()

    claims = driver.world.store.find(kinds.CLAIM, SHOP, {})
    sizes = {claim["spec"]["resources"]["requests"]["storage"] for claim in claims}
    assert sizes == {"20Gi"}
    statefulset = driver.world.store.get(kinds.STATEFUL_SET, SHOP, "orders")
    template = statefulset["spec"]["volumeClaimTemplates"][0]
    assert template["spec"]["resources"]["requests"]["storage"] == "10Gi"


def test_a_spec_that_cannot_be_read_changes_nothing_and_says_so(driver: Driver) -> None:
    driver.settled()
    before = {pod["metadata"]["uid"] for pod in driver.world.pods()}
    driver.world.edit(replicas=77)

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

    driver.world.edit(monitoring={"enabled": False})
    driver.passes(1)
    assert driver.world.store.get(kinds.MONITOR, SHOP, "orders") is None


@pytest.mark.parametrize("by_hand", [0, 1, 5, 9])
def test_a_statefulset_scaled_by_hand_loses_nothing_and_is_put_right(
    driver: Driver, by_hand: int
) -> None:
    driver.settled()
    members, disks = dict(driver.world.members), dict(driver.world.disks)

    driver.world.scale_by_hand(by_hand)
    cluster = driver.settled()

    assert cluster.status.ready == "3/3"
    assert driver.world.members == members
    assert driver.world.disks == disks
    assert driver.world.clusters_formed == 1


def test_pods_come_back_for_members_and_shrinking_goes_by_membership(driver: Driver) -> None:
    driver.settled()

    driver.world.delete_statefulset()
    driver.world.edit(replicas=1)
    driver.once()
    assert len(driver.world.pods()) == 3
    cluster = driver.settled()

    assert (cluster.status.ready, cluster.status.pods) == ("1/1", 1)
    assert [one.ordinal for one in driver.world.voters] == [0]
    assert driver.world.clusters_formed == 1


def test_no_status_can_be_lost_that_would_leave_a_majority_without_pods(driver: Driver) -> None:
    driver.settled()
    driver.world.store.entries[kinds.CLUSTER, SHOP, "orders"].applied.clear()
    driver.world.delete_statefulset()
    driver.world.edit(replicas=1)

    cluster = driver.settled()

    assert cluster.status.ready == "1/1"
    assert driver.world.clusters_formed == 1


def test_the_claim_of_a_removed_member_goes_and_the_others_stay(driver: Driver) -> None:
    driver.settled()
    driver.world.edit(replicas=5)
    driver.settled(within=200)

    driver.world.edit(replicas=3, storage={"quarantine": "1s"})
    driver.settled(within=200)
    driver.passes(5)

    claims = driver.world.store.find(kinds.CLAIM, SHOP, {})
    assert sorted(one["metadata"]["name"] for one in claims) == [
        "data-orders-0",
        "data-orders-1",
        "data-orders-2",
    ]
    assert any("DeleteClaim: deleting volume claim data-orders-4" in one for one in driver.events())


def test_claims_that_scaling_by_hand_left_behind_do_not_stand_in_the_way(driver: Driver) -> None:
    driver.settled()
    driver.world.scale_by_hand(5)
    assert driver.settled().status.ready == "3/3"

    driver.world.edit(replicas=5)

    assert driver.settled(within=200).status.ready == "5/5"


def test_a_claim_that_only_bears_the_labels_is_not_touched(driver: Driver) -> None:
    driver.settled()
    copy = driver.world.store.find(kinds.CLAIM, SHOP, {})[0]
    copy["metadata"] |= {"name": "copy-of-orders-7", "uid": "of-somebody-else"}
    entry = driver.world.store.put(copy)
    driver.world.edit(storage={"size": "20Gi", "whenDeleted": "Delete"})
    driver.settled()
    driver.passes(3)

    assert entry.applied == {}


@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
def test_a_cluster_made_again_over_volumes_that_were_kept_takes_them_over(
    driver: Driver, replicas: int
) -> None:
    driver.settled()
    driver.passes(2)
    before = set(driver.world.members)

    driver.world.delete_cluster()
    driver.world.edit(image="amaters:1", replicas=replicas)
    cluster = driver.settled(within=200)

    assert cluster.status.ready == f"{replicas}/{replicas}"
    assert driver.world.clusters_formed == 1
    assert len(before & set(driver.world.members)) == min(3, replicas)


def test_a_cluster_made_again_heals_when_one_of_the_volumes_is_gone(driver: Driver) -> None:
    driver.settled()
    driver.passes(2)

    driver.world.delete_cluster()
    driver.world.store.delete(kinds.CLAIM, SHOP, "data-orders-1")
    driver.world.lose_disk(1)
    driver.world.edit(image="amaters:1", replicas=3)
    cluster = driver.settled(within=200)

    assert cluster.status.ready == "3/3"
    assert sorted(driver.world.members) == [1, 3, 4]


def test_a_claim_is_deleted_with_the_cluster_only_when_the_spec_says_so(driver: Driver) -> None:
    def owners() -> list[list[dict]]:
        found = driver.world.store.find(kinds.CLAIM, SHOP, {})
        return [one["metadata"].get("ownerReferences") or [] for one in found]

    driver.settled()
    before = owners()
    driver.world.edit(storage={"size": "10Gi", "whenDeleted": "Delete"})
    driver.passes(2)
    owned = owners()
    driver.world.edit(storage={"size": "10Gi", "whenDeleted": "Retain"})
    driver.passes(2)

    uid = driver.world.cluster().metadata.uid
    assert before == owners() == [[], [], []]
    assert [[one["uid"] for one in claim] for claim in owned] == [[uid], [uid], [uid]]


FOREIGN = [
    ("v1", "Service", "orders-peers"),
    ("v1", "Service", "orders"),
    ("v1", "ConfigMap", "orders-config"),
    ("v1", "ServiceAccount", "orders"),
    ("policy/v1", "PodDisruptionBudget", "orders"),
]


@pytest.mark.parametrize(("version", "kind", "name"), FOREIGN)
def test_an_object_of_another_owner_is_not_touched_and_is_named(
    driver: Driver, version: str, kind: str, name: str
) -> None:
    foreign = {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": SHOP},
        "data": {"mine": "yes"},
    }
    entry = driver.world.store.put(foreign)
    driver.passes(10)

    ready = condition(driver.world.cluster(), "Ready")
    assert entry.applied == {}
    assert (ready.status, ready.reason) == ("False", "NameTaken")
    assert f"{kind} {name} exists and belongs to another owner" in ready.message
    assert driver.world.pods() == []
    assert len([one for one in driver.events() if one.startswith("NameTaken")]) == 1

    driver.world.store.delete(kinds.of(foreign), SHOP, name)
    assert driver.settled().status.ready == "3/3"


def test_a_running_cluster_goes_on_beside_an_object_that_another_took(driver: Driver) -> None:
    driver.settled()
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "orders", "namespace": SHOP},
    }
    driver.world.store.delete(kinds.of(foreign), SHOP, "orders")
    entry = driver.world.store.put(foreign)
    driver.world.edit(image="amaters:2")
    cluster = driver.until(lambda observed: observed.status.image == "amaters:2")
    driver.passes(5)

    assert entry.applied == {}
    assert condition(cluster, "Ready").status == "True"
    message = condition(driver.world.cluster(), "Stalled").message
    assert "Service orders exists and belongs to another owner" in message
    assert len([one for one in driver.events() if one.startswith("NameTaken")]) == 1


def test_a_statefulset_of_another_cluster_is_named_once_and_nothing_is_made(
    driver: Driver,
) -> None:
    owner = {"kind": "AmatersCluster", "name": "other", "uid": "another-uid"}
    meta = {"name": "orders", "namespace": SHOP, "ownerReferences": [owner]}
    foreign = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": {}}
    entry = driver.world.store.put(foreign)
    for _ in range(5):
        asyncio.run(driver._pass())

    ready = condition(driver.world.cluster(), "Ready")
    assert (ready.status, ready.reason) == ("False", "NameTaken")
    assert "StatefulSet orders exists and belongs to AmatersCluster other" in ready.message
    assert entry.applied == {}
    assert len([one for one in driver.events() if one.startswith("NameTaken")]) == 1


def test_a_spec_that_becomes_invalid_forgets_nothing(driver: Driver) -> None:
    before = driver.settled().status

    driver.world.edit(image=3)
    driver.once()
    invalid = driver.world.store.get(kinds.CLUSTER, SHOP, "orders")["status"]
    driver.world.edit(image="amaters:1")
    after = driver.settled().status

    assert invalid["phase"] == "Invalid"
    assert invalid["bootstrap"]["clusterId"] == before.bootstrap.cluster_id
    assert (after.pods, after.bootstrap) == (before.pods, before.bootstrap)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_a_lost_disk_converges_though_the_world_moves_within_a_look(
    driver: Driver, seed: int
) -> None:
    rng = random.Random(seed)
    driver.settled()
    driver.database.meanwhile = lambda: driver.world.step(rng.choice((0.0, 0.4, 1.0)))

    driver.world.lose_disk(1)
    driver.passes(rng.randrange(1, 6), seconds=0.1)
    cluster = driver.settled()

    assert cluster.status.ready == "3/3"
    assert sorted(driver.world.members) == [1, 3, 4]
    assert driver.world.clusters_formed == 1


def test_a_member_that_does_not_answer_is_not_called_well(driver: Driver) -> None:
    driver.settled()

    driver.world.unreachable = {2}
    driver.passes(2)
    silent = condition(driver.world.cluster(), "Degraded")
    driver.world.unreachable = set()
    again = condition(driver.settled(), "Degraded")

    assert (silent.status, silent.reason) == ("Unknown", "MemberSilent")
    assert "orders-2 did not answer the operator" in silent.message
    assert (again.status, again.message) == ("False", "every member takes part")


@pytest.mark.parametrize("members", [3, 1])
def test_members_that_all_do_not_answer_are_not_called_well(driver: Driver, members: int) -> None:
    driver.world.edit(replicas=members)
    driver.settled()

    driver.world.unreachable = set(range(members))
    driver.passes(1)
    first = condition(driver.world.cluster(), "Degraded")
    driver.passes(5)
    later = condition(driver.world.cluster(), "Degraded")
    driver.world.unreachable = set()
    again = condition(driver.settled(), "Degraded")

    assert (first.status, first.reason) == ("Unknown", "MemberSilent")
    since = f"since {timestamp_text(first.last_transition_time)}"
    assert f"none of {members} members answers the operator {since} (orders-0" in first.message
    assert "7879" in first.message
    assert later == first
    assert again.status == "False"
