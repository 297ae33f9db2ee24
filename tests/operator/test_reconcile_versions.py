"""A member kept out for its version: in the status, in a condition, and in one event."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from amaters.admin.cluster import ConnectedClients
from amaters_operator.decisions.observation import Incompatible, Node, Observation, Pod, State
from amaters_operator.decisions.rolls.compatibility import certainly_kept_out, kept_out
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.world import NAMESPACE


def condition(cluster, question: str):
    return next(one for one in cluster.status.conditions if one.type == question)


def reported(driver: Driver) -> list[str]:
    return [note for note in driver.events() if note.startswith("IncompatibleMember: ")]


def misfits(cluster) -> dict[str, str]:
    return {one.pod: one.incompatible for one in cluster.status.members if one.incompatible}


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.world.edit(image="amaters:1", replicas=3)
    made.settled()
    made.world.misfits = {"amaters:far": "1.0.0", "amaters:farther": "2.0.0"}
    return made


@pytest.mark.slow
def test_a_member_that_the_others_keep_out_is_reported_once_with_what_to_do(driver: Driver) -> None:
    driver.world.edit(image="amaters:far")
    cluster = driver.until(lambda one: bool(misfits(one)))
    [pod] = misfits(cluster)

    driver.passes(30)

    cluster = driver.world.cluster()
    assert misfits(cluster) == {pod: "1.0.0"}
    degraded = condition(cluster, "Degraded")
    assert (degraded.status, degraded.reason) == ("True", "IncompatibleMember")
    assert f"{pod} runs 1.0.0 and is kept out: they do not fit; correct it" in degraded.message
    [note] = reported(driver)
    assert note.startswith(f"IncompatibleMember: {pod} runs 1.0.0, which cannot work with the")
    assert "correct it" in note
    assert driver.most_down == 1


def test_a_corrected_image_replaces_the_member_that_was_kept_out_and_the_next_time_is_reported_again(
    driver: Driver,
) -> None:
    driver.world.edit(image="amaters:far")
    driver.until(lambda one: bool(misfits(one)))
    driver.world.edit(image="amaters:1")
    assert misfits(driver.settled()) == {}
    assert condition(driver.world.cluster(), "Degraded").reason == "AllMembersReady"

    driver.world.edit(image="amaters:far")
    driver.until(lambda one: bool(misfits(one)))
    driver.world.edit(image="amaters:farther")
    driver.until(lambda one: "2.0.0" in misfits(one).values())

    events = driver.world.store.find(kinds.EVENT, NAMESPACE, {})
    counts = {
        one["note"].split()[2].rstrip(","): one.get("series", {}).get("count", 1)
        for one in events
        if one["reason"] == "IncompatibleMember"
    }
    assert counts == {"1.0.0": 2, "2.0.0": 1}


def test_what_cannot_be_asked_just_now_is_not_forgotten(driver: Driver) -> None:
    driver.world.edit(image="amaters:far")
    [pod] = misfits(driver.until(lambda one: bool(misfits(one))))

    driver.world.unreachable = {0, 1, 2}
    driver.passes(3)
    assert misfits(driver.world.cluster()) == {pod: "1.0.0"}
    driver.world.unreachable = {number for number in range(3) if pod != f"orders-{number}"}
    driver.passes(3)
    assert misfits(driver.world.cluster()) == {pod: "1.0.0"}
    driver.world.unreachable = set()
    driver.passes(3)

    assert len(reported(driver)) == 1


def observe(*, leader: int, answering: tuple[int, ...] = (0, 1, 2)) -> Observation:
    """Member 3, in pod 2, and the two others refuse each other."""
    out, back = Incompatible(3, "1.0.0"), (Incompatible(1, "0.3.0"), Incompatible(2, "0.3.0"))
    nodes = {
        0: Node(1, State.FOLLOWER, leader_id=leader, incompatible=(out,)),
        1: Node(2, State.FOLLOWER, leader_id=leader, incompatible=(out,)),
        2: Node(3, State.CANDIDATE, incompatible=back),
    }
    return Observation(
        now=datetime(2026, 3, 1, tzinfo=UTC),
        pods=tuple(Pod(f"orders-{number}", number, "", "") for number in range(3)),
        nodes={number: nodes[number] for number in answering},
    )


def test_who_has_a_leader_is_right_and_without_one_it_takes_half_of_the_pods() -> None:
    assert set(kept_out(observe(leader=1)) or ()) == {3}
    assert set(kept_out(observe(leader=1, answering=(0, 2))) or ()) == {3}
    assert set(kept_out(observe(leader=0)) or ()) == {3}


def test_the_one_that_is_kept_out_blames_no_other_when_it_answers_alone() -> None:
    assert kept_out(observe(leader=0, answering=(2,))) is None
    assert (
        kept_out(replace(observe(leader=1), nodes={0: Node(1, State.FOLLOWER, leader_id=1)})) == {}
    )


def test_only_those_who_have_a_leader_have_a_member_replaced() -> None:
    assert [certainly_kept_out(observe(leader=1), pod) for pod in range(3)] == [False, False, True]
    assert not any(certainly_kept_out(observe(leader=0), pod) for pod in range(3))


def test_a_roll_to_a_version_that_leaves_clients_behind_waits_until_they_are_gone() -> None:
    driver = Driver()
    driver.world.edit(image="amaters:0.3.0", replicas=3)
    driver.settled()
    driver.database.clients = (ConnectedClients("0.1.4", 3), ConnectedClients("0.3.0", 9))
    driver.world.edit(image="amaters:0.4.0")

    driver.passes(20)

    cluster = driver.world.cluster()
    assert {pod["spec"]["containers"][0]["image"] for pod in driver.world.pods()} == {
        "amaters:0.3.0"
    }
    told = [note for note in driver.events() if note.startswith("ClientsTooOld: ")]
    assert len(told) == 1
    assert "clients of 0.1.4 are connected" in told[0]
    assert cluster.status.plan
    replaced = [one for one in cluster.status.pending_actions if one.action == "ReplacePod"]
    assert len(replaced) == 3
    assert all("ClientsTooOld: version 0.4.0" in one.reason for one in replaced)

    driver.database.clients = (ConnectedClients("0.3.0", 9),)
    driver.settled()
    assert {pod["spec"]["containers"][0]["image"] for pod in driver.world.pods()} == {
        "amaters:0.4.0"
    }
    assert driver.most_down == 1
