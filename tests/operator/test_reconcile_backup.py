"""Backups on a world in memory: due once, made by a follower, kept as long as asked."""

import pytest
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.world import NAME, NAMESPACE

BACKUP = {"destination": "s3://backups/orders", "schedule": "*/10 * * * *"}


def condition(cluster):
    return next(one for one in cluster.status.conditions if one.type == "BackupSucceeded")


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.world.wish(backup=BACKUP)
    made.settled()
    return made


def wait(driver: Driver, minutes: int) -> None:
    driver.passes(minutes * 2, seconds=30)


def test_the_schedule_makes_one_backup_for_each_time(driver: Driver) -> None:
    wait(driver, 35)

    assert [one.created_at.minute for one in driver.database.stored.values()] == [10, 20, 30]
    status = driver.world.cluster().status.backup
    assert status.last.uri == "s3://backups/orders/3"
    assert status.last.trigger == "schedule"
    assert status.next == "2026-03-01T12:40:00Z"
    assert condition(driver.world.cluster()).status == "True"


def test_a_follower_makes_it(driver: Driver) -> None:
    leader = driver.world.members[driver.world.leader].ordinal

    wait(driver, 11)

    assert driver.database.backups_by
    assert leader not in driver.database.backups_by


def test_the_only_member_makes_it_itself() -> None:
    driver = Driver()
    driver.world.wish(replicas=1, backup=BACKUP)
    driver.settled()
    wait(driver, 11)

    assert driver.database.backups_by == [0]


def test_a_new_token_asks_for_one_at_once_and_only_for_one(driver: Driver) -> None:
    driver.world.annotate(backup="before-the-migration")
    driver.passes(5)

    status = driver.world.cluster().status.backup
    assert len(driver.database.stored) == 1
    assert status.last.trigger == "before-the-migration"
    assert status.last_token == "before-the-migration"

    driver.world.annotate(backup="again")
    driver.passes(5)
    assert len(driver.database.stored) == 2


def test_only_the_newest_are_kept(driver: Driver) -> None:
    driver.world.wish(backup=BACKUP | {"retention": {"count": 2}})
    wait(driver, 45)

    assert sorted(driver.database.stored) == ["s3://backups/orders/3", "s3://backups/orders/4"]
    assert driver.world.cluster().status.backup.kept == 2


def test_the_status_leaves_out_what_is_not_known(driver: Driver) -> None:
    driver.world.annotate(backup="now")
    driver.passes(5)

    written = driver.world.store.get(kinds.CLUSTER, NAMESPACE, NAME)["status"]
    assert written["backup"]["kept"] == 1
    assert "failure" not in written["backup"]
    assert "certificateSerial" not in written["members"][0]
    assert all(one["message"] is not None for one in written["conditions"])


def test_a_failure_is_told_and_tried_again_ever_more_slowly(driver: Driver) -> None:
    driver.database.store_fails = "wrong credentials: correct the Secret"
    driver.world.annotate(backup="now")
    driver.passes(60, seconds=10)

    failed = driver.world.cluster()
    assert condition(failed).status == "False"
    assert "wrong credentials: correct the Secret" in condition(failed).message
    assert 3 <= failed.status.backup.failures <= 7
    assert failed.status.backup.last_token == ""

    driver.database.store_fails = ""
    wait(driver, 20)
    assert condition(driver.world.cluster()).status == "True"
    assert driver.world.cluster().status.backup.failures == 0


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupted_backup_is_found_rather_than_made_twice(driver: Driver, after: bool) -> None:
    driver.world.annotate(backup="now")
    driver.strikes.named, driver.strikes.after = "create snapshot", after
    driver.passes(5)

    assert driver.deaths == 1
    assert len(driver.database.stored) == 1
    status = driver.world.cluster().status.backup
    assert status.last.uri == "s3://backups/orders/1"
    assert status.last_token == "now"
    assert status.running_since is None


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"schedule": "every day"}, "must have five fields"),
        ({"schedule": "99 * * * *"}, "is not a cron expression"),
        ({"timeZone": "Mars/Olympus"}, "is not known"),
    ],
)
def test_a_schedule_that_means_nothing_says_what_to_write(driver: Driver, spec, said) -> None:
    driver.world.wish(backup=BACKUP | spec)
    driver.passes(3)

    assert said in condition(driver.world.cluster()).message


def test_nothing_is_backed_up_before_the_first_backup_is_loaded() -> None:
    driver = Driver()
    driver.world.wish(backup=BACKUP, bootstrap={"restoreFrom": "s3://backups/old/1"})
    driver.database.store_fails = "gone"
    driver.world.annotate(backup="now")
    driver.passes(20)

    assert driver.database.stored == {}


def test_the_two_writers_of_the_status_leave_each_other_alone(driver: Driver) -> None:
    driver.world.annotate(backup="now")
    driver.passes(5)
    driver.world.wish(replicas=1)
    driver.settled()

    status = driver.world.cluster().status
    assert status.backup.last is not None
    assert status.ready == "1/1"
