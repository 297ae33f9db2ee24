"""Events: one object for the same words, a series for their return, and silence in between."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.controllers.reporting import Reporter
from amaters_operator.kube import events, kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.world import NAMESPACE

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLUSTER = AmatersCluster.model_validate(
    {"metadata": {"name": "orders", "namespace": "shop", "uid": "u1"}, "spec": {"image": "a:1"}}
)


def about(note: str = "why", *, reason: str = "NameTaken", now: datetime = NOW) -> dict:
    return events.event(CLUSTER, reason=reason, note=note, now=now, instance="operator-0")


def writes(driver: Driver, reason: str) -> int:
    return driver.crash_points.changes.count(f"record {reason}")


def objects(driver: Driver, reason: str) -> list[dict]:
    found = driver.world.store.find(kinds.EVENT, NAMESPACE, {})
    return [one for one in found if one["reason"] == reason]


def test_the_same_words_have_the_same_name_and_others_another() -> None:
    names = [one["metadata"]["name"] for one in (about(), about(now=NOW + timedelta(hours=1)))]

    assert names[0] == names[1]
    assert about("another")["metadata"]["name"] not in names
    assert about(reason="Other")["metadata"]["name"] not in names
    assert names[0].startswith("orders.")


def test_words_that_return_are_counted_and_change_nothing_the_api_server_keeps() -> None:
    first = about()
    later = NOW + timedelta(minutes=6)
    second = events.due(about(now=later), first, later)
    third = events.due(about(now=later), second, later + timedelta(minutes=6))

    assert second["series"] == {"count": 2, "lastObservedTime": "2026-03-01T12:06:00.000000Z"}
    assert third["series"]["count"] == 3
    assert {key: third[key] for key in first} == first


@pytest.mark.parametrize("minutes", [0, 1, 4.9])
def test_what_was_recorded_a_moment_ago_is_not_recorded_again(minutes: float) -> None:
    now = NOW + timedelta(minutes=minutes)

    assert events.due(about(now=now), about(), now) is None


def test_a_clock_that_was_set_back_silences_nothing_for_long() -> None:
    now = NOW - timedelta(hours=1)

    assert events.due(about(now=now), about(), now) is not None


@pytest.mark.slow
def test_a_restore_that_keeps_failing_is_one_event_and_few_writes() -> None:
    driver = Driver()
    driver.world.edit(replicas=3, bootstrap={"restoreFrom": "s3://backups/old/1"})
    driver.database.store_fails = "wrong credentials"
    driver.passes(60, seconds=15)

    [failed] = objects(driver, "RestoreFailed")
    assert 1 < writes(driver, "RestoreFailed") <= 4
    assert failed["series"]["count"] == writes(driver, "RestoreFailed")


@pytest.mark.slow
def test_a_volume_that_cannot_grow_is_one_event_and_few_writes() -> None:
    driver = Driver()
    driver.world.edit(replicas=1, storage={"size": "10Gi"})
    driver.settled()
    driver.kube.rejects_growth = True
    driver.world.edit(storage={"size": "20Gi"})
    driver.passes(60, seconds=15)

    assert len(objects(driver, "VolumeNotGrown")) == 1
    assert 1 <= writes(driver, "VolumeNotGrown") <= 4


def test_a_name_that_is_taken_is_reported_once_however_long_it_lasts() -> None:
    driver = Driver()
    meta = {"name": "orders-config", "namespace": NAMESPACE}
    driver.world.store.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {}})
    driver.world.edit(replicas=3)
    driver.passes(60, seconds=15)

    assert len(objects(driver, "NameTaken")) == 1
    assert writes(driver, "NameTaken") == 1
    assert driver.crash_points.changes.count("apply AmatersCluster orders status") == 1


def test_a_spec_that_stays_invalid_writes_no_status_twice() -> None:
    driver = Driver()
    driver.world.edit(image=3)
    driver.passes(60, seconds=15)

    assert driver.crash_points.changes.count("apply AmatersCluster orders status") == 1


def test_a_status_that_cannot_be_written_repeats_no_event() -> None:
    driver = Driver()
    driver.world.edit(replicas=3)
    driver.settled()
    driver.world.unreachable = {0, 1, 2}
    driver.kube.rejects_status = True
    driver.passes(20)
    driver.kube.rejects_status = False
    driver.passes(3)

    assert writes(driver, "NotReachable") == 1


def reporter(driver: Driver) -> Reporter:
    return Reporter(driver.kube, "operator-0")


def record(driver: Driver, *notes: str, reason: str = "Moved", kind: str = "Normal") -> None:
    cluster = driver.world.cluster()

    async def all_of_them() -> None:
        for note in notes:
            await reporter(driver).event(cluster, reason, note, kind=kind)

    asyncio.run(all_of_them())


def test_a_cluster_in_trouble_does_not_flood_the_api_server() -> None:
    """Each event is an object that is stored for an hour, by default."""
    driver = Driver()
    driver.world.edit(replicas=3)
    many = [f"pod {number} came and went" for number in range(3 * events.MOST_AN_HOUR)]
    record(driver, *many)

    assert len(objects(driver, "Moved")) == events.MOST_AN_HOUR
    [said] = objects(driver, events.TOO_MANY)
    assert "operator's log" in said["note"]
    assert writes(driver, events.TOO_MANY) == 1

    record(driver, "but this needs a person", kind="Warning")
    record(driver, many[0])
    assert len(objects(driver, "Moved")) == events.MOST_AN_HOUR + 1, (
        "warnings have a bound of theirs"
    )


def test_the_bound_is_of_each_cluster_and_of_each_hour() -> None:
    driver = Driver()
    driver.world.edit(replicas=3)
    record(driver, *(f"note {number}" for number in range(events.MOST_AN_HOUR)))
    others = driver.world.store.find(kinds.EVENT, NAMESPACE, {})
    about_another = [one | {"regarding": {"uid": "another"}} for one in others]

    assert not events.has_room(others, driver.kube.now())
    assert events.has_room(others, driver.kube.now() + timedelta(minutes=61))
    assert events.alike(about_another[0]) != events.alike(others[0])


def test_an_operator_that_starts_anew_keeps_the_bound() -> None:
    """Nothing of it is in memory: the events themselves are counted."""
    driver = Driver()
    driver.world.edit(replicas=3)
    for batch in range(3):
        record(driver, *(f"{batch} {number}" for number in range(events.MOST_AN_HOUR // 2)))

    assert len(objects(driver, "Moved")) == events.MOST_AN_HOUR
