"""Volumes of removed members: kept for their time, brought back by a person, used again by a pod."""

import random
from datetime import timedelta

import pytest
from amaters.admin.cluster import NodeState
from amaters.errors import RefusedError
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.database import FakeAdmin
from amaters_operator.testing.disk_calls import DiskCalls

SHOP = "shop"
AFTER_72_HOURS = 72 * 3600 + 60


def condition(cluster, question: str):
    found = [one for one in cluster.status.conditions if one.type == question]
    return found[0] if found else None


def claims(driver: Driver) -> list[str]:
    found = driver.world.store.find(kinds.CLAIM, SHOP, {})
    return sorted(one["metadata"]["name"].removeprefix("data-orders-") for one in found)


def claim(driver: Driver, ordinal: int):
    return driver.world.store.get(kinds.CLAIM, SHOP, f"data-orders-{ordinal}")


def undelete(driver: Driver, ordinal: int, value: str = "true") -> None:
    entry = driver.world.store.entries[kinds.CLAIM, SHOP, f"data-orders-{ordinal}"]
    entry.own["metadata"]["annotations"] = {"amaters.io/undelete": value}


@pytest.fixture
def shrunk() -> Driver:
    """Return a cluster that had five members and has three."""
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=5)
    driver.settled(within=200)
    driver.world.edit(replicas=3)
    driver.settled(within=200)
    driver.passes(3)
    return driver


def test_a_removed_members_claim_is_labelled_listed_and_kept(shrunk: Driver) -> None:
    cluster, now = shrunk.world.cluster(), shrunk.world.now
    meta = claim(shrunk, 4)["metadata"]

    assert claims(shrunk) == ["0", "1", "2", "3", "4"]
    assert meta["labels"]["amaters.io/quarantine"] == "true"
    listed = {one.claim: one for one in cluster.status.quarantine}
    assert sorted(listed) == ["data-orders-3", "data-orders-4"]
    four = listed["data-orders-4"]
    assert four.member == 5
    assert timedelta(0) < now - four.since < timedelta(minutes=10)
    assert four.until == four.since + timedelta(hours=72)
    assert meta["annotations"]["amaters.io/quarantined-until"] == four.until.strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )
    said = condition(cluster, "VolumesQuarantined")
    assert said.reason == "Quarantined"
    assert "annotate pvc data-orders-" in said.message
    assert any("VolumeQuarantined: data-orders-4" in one for one in shrunk.events())
    assert condition(cluster, "Reconciling").status == "False"
    for used in range(3):
        assert "amaters.io/quarantine" not in claim(shrunk, used)["metadata"]["labels"]


def test_it_is_deleted_once_its_time_is_over_and_no_sooner(shrunk: Driver) -> None:
    shrunk.world.step(71 * 3600)
    shrunk.passes(5)
    assert claims(shrunk) == ["0", "1", "2", "3", "4"]

    shrunk.world.step(3700)
    shrunk.passes(8)

    assert claims(shrunk) == ["0", "1", "2"]
    assert shrunk.world.cluster().status.quarantine == []
    assert condition(shrunk.world.cluster(), "VolumesQuarantined") is None
    assert any("its quarantine ended" in one for one in shrunk.events())


def test_the_operators_restarts_and_edits_do_not_make_the_time_longer(shrunk: Driver) -> None:
    before = shrunk.world.cluster().status.quarantine
    shrunk.world.step(3600)
    shrunk.world.edit(storage={"size": "20Gi", "quarantine": "1h"})
    shrunk.passes(5)

    assert shrunk.world.cluster().status.quarantine == before


def test_a_person_brings_it_back_and_it_stays(shrunk: Driver) -> None:
    undelete(shrunk, 4)
    shrunk.passes(3)

    assert "amaters.io/quarantine" not in claim(shrunk, 4)["metadata"]["labels"]
    kept = {one.claim: one for one in shrunk.world.cluster().status.quarantine}["data-orders-4"]
    assert kept.until is None
    shrunk.world.step(AFTER_72_HOURS)
    shrunk.passes(8)
    assert claims(shrunk) == ["0", "1", "2", "4"]
    said = condition(shrunk.world.cluster(), "VolumesQuarantined")
    assert (said.reason, "by hand" in said.message) == ("Kept", True)
    assert any("out of quarantine" in one for one in shrunk.events())

    undelete(shrunk, 4, "false")
    shrunk.passes(3)
    again = {one.claim: one for one in shrunk.world.cluster().status.quarantine}["data-orders-4"]
    assert again.until > shrunk.world.now + timedelta(hours=71)


def test_what_a_person_keeps_outlives_the_cluster(shrunk: Driver) -> None:
    undelete(shrunk, 4)
    shrunk.world.edit(storage={"whenDeleted": "Delete"})
    shrunk.passes(3)

    shrunk.world.delete_cluster()

    assert claims(shrunk) == ["4"]


def test_volumes_that_are_to_stay_have_no_end(shrunk: Driver) -> None:
    shrunk.world.edit(replicas=2, storage={"whenScaled": "Retain"})
    shrunk.settled(within=200)
    shrunk.passes(3)
    shrunk.world.step(AFTER_72_HOURS)
    shrunk.passes(8)

    assert claims(shrunk) == ["0", "1", "2", "3", "4"]
    assert {one.until for one in shrunk.world.cluster().status.quarantine} == {None}


def test_a_quick_return_to_five_sets_the_old_data_aside(shrunk: Driver) -> None:
    ends = {one.claim: one.until for one in shrunk.world.cluster().status.quarantine}
    shrunk.world.edit(replicas=5)
    cluster = shrunk.settled(within=200)

    assert cluster.status.ready == "5/5"
    assert sorted(shrunk.world.members) == [1, 2, 3, 6, 7]
    assert (shrunk.world.disks[3].aside, shrunk.world.disks[4].aside) == ([4], [5])
    listed = {one.claim: one for one in cluster.status.quarantine}
    assert {one.claim: one.until for one in cluster.status.quarantine} == ends
    assert all(one.set_aside for one in listed.values())
    assert "amaters.io/quarantine" not in claim(shrunk, 4)["metadata"]["labels"]

    shrunk.world.step(AFTER_72_HOURS)
    shrunk.passes(8)
    assert shrunk.world.disks[4].aside == []
    assert shrunk.world.cluster().status.quarantine == []
    assert shrunk.settled().status.ready == "5/5"
    assert claims(shrunk) == ["0", "1", "2", "3", "4"]


def test_undelete_keeps_what_was_set_aside(shrunk: Driver) -> None:
    shrunk.world.edit(replicas=4)
    shrunk.settled(within=200)
    undelete(shrunk, 3)
    shrunk.passes(2)
    shrunk.world.step(AFTER_72_HOURS)
    shrunk.passes(8)

    assert shrunk.world.disks[3].aside == [4]
    kept = [one for one in shrunk.world.cluster().status.quarantine if one.set_aside]
    assert [(one.member, one.until) for one in kept] == [(4, None)]


def test_a_node_that_was_asked_while_it_started_sets_aside_all_the_same(
    shrunk: Driver, monkeypatch
) -> None:
    answered, early = FakeAdmin._state, []

    def starting(node: FakeAdmin) -> NodeState:
        found = answered(node)
        if found is not NodeState.REMOVED or early:
            return found
        early.append(node.ordinal)
        return NodeState.WAITING  # Its disk is not open yet: it does not know that it was removed.

    monkeypatch.setattr(FakeAdmin, "_state", starting)
    shrunk.world.edit(replicas=4)

    assert shrunk.settled(within=200).status.ready == "4/4"
    assert early == [3]
    assert shrunk.world.disks[3].aside == [4]
    assert sorted(shrunk.world.members) == [1, 2, 3, 6]


@pytest.mark.slow
def test_up_and_down_and_up_again_loses_nothing_and_repeats_no_identity(shrunk: Driver) -> None:
    for wanted in (5, 3, 5, 3, 5):
        shrunk.world.edit(replicas=wanted)
        assert shrunk.settled(within=300).status.ready == f"{wanted}/{wanted}"
        assert shrunk.world.has_quorum()

    assert shrunk.world.disks[4].aside == [5, 7, 9]
    assert len(shrunk.world.cluster().status.quarantine) == 6
    assert shrunk.world.clusters_formed == 1


def test_a_node_that_refuses_is_reported_and_asked_again(shrunk: Driver, monkeypatch) -> None:
    async def refused(self, member_id: int, *, cluster_id: str) -> None:
        raise RefusedError("10 MiB are free, and a new member needs 200 MiB: enlarge the volume")

    with monkeypatch.context() as patch:
        patch.setattr(DiskCalls, "set_aside", refused)
        shrunk.world.edit(replicas=4)
        shrunk.passes(12)
        said = condition(shrunk.world.cluster(), "Reconciling")
        assert "enlarge the volume" in said.message
        assert said.reason == "SetAsideWaits"

    assert shrunk.settled().status.ready == "4/4"


def test_a_cluster_made_again_does_not_start_pods_for_volumes_out_of_use(shrunk: Driver) -> None:
    shrunk.world.delete_cluster()
    shrunk.world.edit(image="amaters:1", replicas=3)
    shrunk.once()
    assert len(shrunk.world.pods()) <= 3
    shrunk.settled(within=200)

    assert sorted(shrunk.world.members) == [1, 2, 3]
    assert claims(shrunk) == ["0", "1", "2", "3", "4"]


def test_a_disk_that_never_had_a_member_is_not_kept(shrunk: Driver) -> None:
    shrunk.world.scale_by_hand(9)
    shrunk.world.step()
    shrunk.passes(1)
    shrunk.settled()
    unused = [one for one in claims(shrunk) if int(one) > 4]
    marks = [
        (claim(shrunk, int(one))["metadata"].get("annotations") or {}).get("amaters.io/member")
        for one in unused
    ]

    assert all(mark is None for mark in marks), "what had a mark of no member is deleted at once"
    assert {"3", "4"} <= set(claims(shrunk))


@pytest.mark.parametrize("by_hand", [0, 1, 9])
def test_any_number_of_pods_ends_in_what_the_spec_says_and_deletes_nothing(
    shrunk: Driver, by_hand: int
) -> None:
    members = dict(shrunk.world.members)
    shrunk.world.scale_by_hand(by_hand)
    shrunk.world.step()
    cluster = shrunk.settled()

    assert cluster.status.ready == "3/3"
    assert shrunk.world.members == members
    assert {"0", "1", "2", "3", "4"} <= set(claims(shrunk))
    assert shrunk.world.clusters_formed == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_whatever_people_do_with_numbers_no_volume_goes_that_should_stay(seed: int) -> None:
    rng = random.Random(seed)
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=3)
    driver.settled()
    kept: set[str] = set()

    def keep() -> None:
        out = [one for one in driver.world.cluster().status.quarantine if not one.set_aside]
        if out:
            name = rng.choice(out).claim
            undelete(driver, int(name.rpartition("-")[2]))
            kept.add(name)

    deeds = [
        lambda: driver.world.edit(replicas=rng.randint(1, 5)),
        lambda: driver.world.edit(replicas=rng.choice((3, 5))),
        lambda: driver.world.scale_by_hand(rng.randint(0, 9)),
        driver.world.delete_statefulset,
        lambda: driver.world.step(rng.choice((60, 3600, 40 * 3600))),
        keep,
    ]
    for _ in range(12):
        rng.choice(deeds)()
        driver.crash_points.at = rng.choice((0, len(driver.crash_points.changes) + 3))
        driver.crash_points.after = rng.random() < 0.5
        driver.passes(rng.randint(1, 25))
    driver.world.edit(replicas=5)
    cluster = driver.settled(within=400)

    assert cluster.status.ready == "5/5"
    assert driver.world.clusters_formed == 1
    assert {one.removeprefix("data-orders-") for one in kept} <= set(claims(driver))
    ids = [one for disk in driver.world.disks.values() for one in (disk.member, *disk.aside)]
    assert len(ids) == len(set(ids)), "an identity was used twice"


def test_without_a_quorum_of_pods_the_spec_is_reached_again(shrunk: Driver) -> None:
    shrunk.world.scale_by_hand(0)
    shrunk.world.edit(replicas=4)
    cluster = shrunk.settled(within=200)

    assert cluster.status.ready == "4/4"
    assert shrunk.world.disks[3].aside == [4]
