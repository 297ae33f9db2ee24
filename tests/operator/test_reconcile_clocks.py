"""Clocks that differ change nothing: durations are measured on the API server's clock alone."""

from datetime import timedelta

import pytest
from amaters_operator.testing import Driver

pytestmark = pytest.mark.slow

AHEAD = [400, -400, 3600, -3600]
BACKUP = {"destination": "s3://backups/orders"}


def rolled(clock_skew: dict[int, timedelta]) -> tuple[list[str], int]:
    """Roll three pods on machines whose clocks differ; return what was changed, and in how long."""
    driver = Driver()
    driver.world.clock_skew = clock_skew
    driver.world.edit(image="amaters:1", replicas=3)
    driver.settled()
    began = driver.world.now
    driver.world.edit(image="amaters:2")
    driver.settled()
    assert not any("Stuck" in note for note in driver.events())
    return moves(driver), int((driver.world.now - began).total_seconds())


def moves(driver: Driver) -> list[str]:
    return [one for one in driver.crash_points.changes if one.startswith(("evict", "transfer"))]


@pytest.mark.parametrize("seconds", AHEAD)
@pytest.mark.parametrize("pods", [(0,), (0, 1, 2)], ids=str)
def test_a_roll_goes_as_usual_on_machines_whose_clocks_differ(seconds, pods) -> None:
    assert rolled(dict.fromkeys(pods, timedelta(seconds=seconds))) == rolled({})


@pytest.mark.parametrize("seconds", AHEAD)
def test_a_pod_is_stuck_after_the_deadline_whatever_its_machines_clock_says(seconds) -> None:
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=3, upgrade={"progressDeadlineSeconds": 60})
    driver.settled()
    driver.world.clock_skew = dict.fromkeys(range(3), timedelta(seconds=seconds))
    driver.world.edit(image="amaters:2")
    driver.until(lambda _: bool(moves(driver)))
    began = driver.world.now
    driver.world.disks[int(moves(driver)[0][-1])].member += 77

    driver.until(lambda one: one.status.phase == "UpgradeStuck", within=60)

    assert 60 <= (driver.world.now - began).total_seconds() <= 70


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("seconds", AHEAD)
def test_an_interrupted_backup_is_distinguished_from_an_earlier_one(seconds, after: bool) -> None:
    driver = Driver()
    driver.world.edit(backup=BACKUP)
    driver.world.clock_skew = dict.fromkeys(range(3), timedelta(seconds=seconds))
    driver.settled()
    driver.world.annotate(backup="first")
    driver.passes(5)

    driver.world.annotate(backup="second")
    driver.crash_points.named, driver.crash_points.after = "create snapshot", after
    driver.passes(5)

    assert driver.deaths == 1
    assert sorted(driver.database.stored) == ["s3://backups/orders/1", "s3://backups/orders/2"]
    status = driver.world.cluster().status.backup
    assert (status.last.uri, status.last_token) == ("s3://backups/orders/2", "second")
