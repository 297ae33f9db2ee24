"""Backups on a world in memory: due once, made by a follower, kept as long as asked."""

import base64
from datetime import UTC, datetime

import pytest
from amaters.admin.cluster import SnapshotInfo, StoreCredentials
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.world import NAME, NAMESPACE

BACKUP = {"destination": "s3://backups/orders", "schedule": "*/10 * * * *"}


def condition(cluster):
    return next(one for one in cluster.status.conditions if one.type == "BackupSucceeded")


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.world.edit(backup=BACKUP)
    made.settled()
    return made


def wait(driver: Driver, minutes: int) -> None:
    driver.passes(minutes * 2, seconds=30)


@pytest.mark.slow
def test_the_schedule_makes_one_backup_for_each_time(driver: Driver) -> None:
    wait(driver, 35)

    assert [one.created_at.minute for one in driver.database.stored.values()] == [10, 20, 30]
    status = driver.world.cluster().status.backup
    assert status.last.uri == "s3://backups/orders/3"
    assert status.last.trigger == "schedule"
    assert status.next == datetime(2026, 3, 1, 12, 40, tzinfo=UTC)
    assert condition(driver.world.cluster()).status == "True"


@pytest.mark.slow
def test_a_follower_makes_it(driver: Driver) -> None:
    leader = driver.world.members[driver.world.leader].ordinal

    wait(driver, 11)

    assert driver.database.backups_by
    assert leader not in driver.database.backups_by


@pytest.mark.slow
def test_the_only_member_makes_it_itself() -> None:
    driver = Driver()
    driver.world.edit(replicas=1, backup=BACKUP)
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


@pytest.mark.slow
def test_only_the_newest_are_kept(driver: Driver) -> None:
    driver.world.edit(backup=BACKUP | {"retention": {"count": 2}})
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


@pytest.mark.slow
def test_a_failure_is_reported_and_tried_again_with_growing_pauses(driver: Driver) -> None:
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
    driver.crash_points.named, driver.crash_points.after = "create snapshot", after
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
    driver.world.edit(backup=BACKUP | spec)
    driver.passes(3)

    assert said in condition(driver.world.cluster()).message


@pytest.mark.slow
def test_nothing_is_backed_up_before_the_first_backup_is_loaded() -> None:
    driver = Driver()
    driver.world.edit(backup=BACKUP, bootstrap={"restoreFrom": "s3://backups/old/1"})
    driver.database.store_fails = "gone"
    driver.world.annotate(backup="now")
    driver.passes(20)

    assert driver.database.stored == {}


def test_the_two_writers_of_the_status_leave_each_other_alone(driver: Driver) -> None:
    driver.world.annotate(backup="now")
    driver.passes(5)
    driver.world.edit(replicas=1)
    driver.settled()

    status = driver.world.cluster().status
    assert status.backup.last is not None
    assert status.ready == "1/1"


ON_DEMAND = {"destination": "s3://backups/orders"}
RIGHT, WRONG = StoreCredentials("key", "hunter2"), StoreCredentials("key", "mistyped")


def secret(driver: Driver, keys: StoreCredentials, name: str = "s3") -> None:
    """Write the Secret, or correct it in place."""
    data = {
        "AWS_ACCESS_KEY_ID": base64.b64encode(keys.access_key_id.encode()).decode(),
        "AWS_SECRET_ACCESS_KEY": base64.b64encode(keys.secret_access_key.encode()).decode(),
    }
    metadata = {"name": name, "namespace": NAMESPACE}
    driver.world.store.put(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    )


def uids(driver: Driver) -> list[str]:
    return [pod["metadata"]["uid"] for pod in driver.world.pods()]


def notes(driver: Driver, reason: str) -> list[str]:
    return [one for one in driver.events() if one.startswith(f"{reason}:")]


def test_a_destination_that_is_set_later_rolls_no_pod() -> None:
    driver = Driver()
    driver.world.edit()
    driver.settled()
    before = uids(driver)
    driver.database.store_keys = RIGHT

    secret(driver, RIGHT)
    driver.world.edit(backup=BACKUP | {"credentialsSecretName": "s3"})
    driver.world.annotate(backup="now")
    driver.settled()
    driver.passes(5)

    assert uids(driver) == before
    assert len(driver.database.stored) == 1
    assert condition(driver.world.cluster()).status == "True"


@pytest.mark.slow
def test_a_backup_waits_until_a_node_knows_where_it_goes() -> None:
    """The configuration reaches the pods when the kubelet gets to it."""
    driver = Driver()
    driver.world.edit()
    driver.settled()
    driver.database.files_arrive = False

    driver.world.edit(backup=BACKUP)
    driver.world.annotate(backup="now")
    driver.passes(10)

    waiting = condition(driver.world.cluster())
    assert (waiting.status, waiting.reason) == ("Unknown", "Waiting")
    assert "has the newest configuration" in waiting.message
    assert notes(driver, "BackupFailed") == []

    driver.database.files_arrive = True
    driver.passes(10)
    assert condition(driver.world.cluster()).status == "True"
    assert driver.world.cluster().status.backup.waiting == ""


@pytest.mark.slow
def test_a_secret_that_is_corrected_in_place_takes_effect_with_the_next_attempt() -> None:
    driver = Driver()
    secret(driver, WRONG)
    driver.database.store_keys = RIGHT
    driver.world.edit(backup=ON_DEMAND | {"credentialsSecretName": "s3"})
    driver.settled()
    before = uids(driver)
    driver.world.annotate(backup="now")
    driver.passes(60, seconds=10)
    assert driver.world.cluster().status.backup.failures >= 4  # The pause is minutes long now.

    secret(driver, RIGHT)
    driver.passes(2)

    assert uids(driver) == before
    assert condition(driver.world.cluster()).status == "True"
    assert driver.world.cluster().status.backup.last_token == "now"


@pytest.fixture
def asked() -> Driver:
    """Backups on demand only."""
    made = Driver()
    made.world.edit(backup=ON_DEMAND)
    made.settled()
    return made


@pytest.mark.slow
def test_a_new_annotation_is_acted_on_though_earlier_attempts_failed(asked: Driver) -> None:
    driver = asked
    driver.database.store_fails = "the bucket is gone"
    driver.world.annotate(backup="first")
    driver.passes(60, seconds=10)
    attempts = driver.world.cluster().status.backup.failures
    driver.database.store_fails = ""

    driver.world.annotate(backup="second")
    driver.passes(2)

    status = driver.world.cluster().status.backup
    assert attempts >= 4
    assert (status.last.trigger, status.failures) == ("second", 0)


@pytest.mark.slow
def test_a_new_annotation_that_fails_too_is_reported_at_once_and_once(asked: Driver) -> None:
    driver = asked
    driver.database.store_fails = "the bucket is gone"
    driver.world.annotate(backup="first")
    driver.passes(60, seconds=10)
    reported = len(notes(driver, "BackupFailed"))

    driver.world.annotate(backup="second")
    driver.passes(4, seconds=1)

    assert len(notes(driver, "BackupFailed")) == reported + 1


def test_an_annotation_without_a_destination_is_refused_once_and_made_up_for() -> None:
    driver = Driver()
    driver.world.edit()
    driver.settled()
    driver.world.annotate(backup="now")
    driver.passes(5)

    [refused] = notes(driver, "BackupRefused")
    assert "set spec.backup" in refused

    driver.world.edit(backup=BACKUP)
    driver.passes(10)
    assert driver.world.cluster().status.backup.last_token == "now"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (None, "Secret s3 does not exist: create it with AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "a2V5"}, "AWS_SECRET_ACCESS_KEY is missing"),
        (
            {"AWS_ACCESS_KEY_ID": "a2V5", "AWS_SECRET_ACCESS_KEY": "hunter2!"},
            "AWS_SECRET_ACCESS_KEY is not base64",
        ),
    ],
)
def test_a_secret_that_cannot_be_used_is_named_without_what_is_in_it(spoil, said) -> None:
    driver = Driver()
    if spoil is not None:
        metadata = {"name": "s3", "namespace": NAMESPACE}
        driver.world.store.put(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": spoil}
        )
    driver.world.edit(backup=BACKUP | {"credentialsSecretName": "s3"})
    driver.world.annotate(backup="now")
    driver.settled()
    driver.passes(3)

    assert said in condition(driver.world.cluster()).message
    assert "hunter2" not in everything(driver)


def everything(driver: Driver) -> str:
    """All that is written to Kubernetes, but for Secrets."""
    owned = (entry.own for entry in driver.world.store.entries.values())
    return str([one for one in owned if one["kind"] != "Secret"])


@pytest.mark.slow
def test_the_keys_of_the_store_are_written_nowhere(caplog) -> None:
    driver = Driver()
    secret(driver, RIGHT)
    driver.database.store_keys = RIGHT
    driver.world.edit(backup=BACKUP | {"credentialsSecretName": "s3"})
    driver.world.annotate(backup="now")
    driver.settled()
    driver.passes(5)
    driver.database.store_keys = WRONG
    driver.world.annotate(backup="again")
    driver.passes(5)

    assert len(driver.database.stored) == 1
    for reported in (everything(driver), caplog.text, str(driver.database.stored)):
        assert "hunter2" not in reported
        assert base64.b64encode(b"hunter2").decode() not in reported


def foreign(number: int, cluster_id: str) -> SnapshotInfo:
    return SnapshotInfo(
        id=number,
        created_at=None,
        size_bytes=1000,
        original_size_bytes=0,
        applied_index=0,
        term=0,
        key_count=None,
        uri=f"s3://backups/orders/{cluster_id or 'flat'}/{number}",
        cluster_id=cluster_id,
    )


@pytest.mark.slow
def test_retention_leaves_the_backups_of_other_clusters_alone(driver: Driver) -> None:
    """A cluster restored from another one, with the same destination."""
    theirs = [foreign(number, "of-the-other") for number in (1, 2, 900)]
    unknown = [foreign(number, "") for number in (3, 901)]
    driver.database.stored |= {one.uri: one for one in (*theirs, *unknown)}
    driver.world.edit(backup=BACKUP | {"retention": {"count": 1}})

    for token in ("a", "b", "c"):
        driver.world.annotate(backup=token)
        driver.passes(5)

    left = driver.database.stored
    assert {one.uri for one in (*theirs, *unknown)} < set(left)
    assert [one.cluster_id for one in left.values()].count("cluster-1") == 1
    status = driver.world.cluster().status.backup
    assert (status.kept, status.others) == (1, ["of-the-other"])


@pytest.mark.slow
def test_two_writers_of_one_place_are_reported_in_a_condition_and_one_event(driver: Driver) -> None:
    for token in ("a", "b"):
        driver.world.annotate(backup=token)
        driver.passes(5)
    assert "BackupPlaceShared" not in {one.type for one in driver.world.cluster().status.conditions}
    stranger = foreign(7, "of-the-other")
    driver.database.stored[stranger.uri] = stranger

    for token in ("c", "d"):
        driver.world.annotate(backup=token)
        driver.passes(5)

    conditions = {one.type: one for one in driver.world.cluster().status.conditions}
    assert "of-the-other" in conditions["BackupPlaceShared"].message
    assert len(notes(driver, "BackupPlaceShared")) == 1

    del driver.database.stored[stranger.uri]
    driver.world.annotate(backup="e")
    driver.passes(5)
    assert "BackupPlaceShared" not in {one.type for one in driver.world.cluster().status.conditions}


@pytest.mark.slow
def test_a_backup_that_is_not_where_it_should_be_is_no_success(driver: Driver) -> None:
    driver.database.store_forgets = True
    driver.world.annotate(backup="now")
    driver.passes(5)

    failed = driver.world.cluster()
    assert "was made with 1000 bytes and is not in the store" in condition(failed).message
    assert (failed.status.backup.last, failed.status.backup.last_token) == (None, "")


@pytest.mark.slow
def test_a_new_cluster_is_restored_with_keys_that_are_corrected_later() -> None:
    driver = Driver()
    secret(driver, WRONG)
    driver.database.store_keys = RIGHT
    backup = BACKUP | {"credentialsSecretName": "s3"}
    driver.world.edit(backup=backup, bootstrap={"restoreFrom": "s3://backups/old/1.bin"})
    driver.passes(30)
    assert driver.database.restored == []
    before = uids(driver)

    secret(driver, RIGHT)
    driver.settled()

    assert [uri for uri, _ in driver.database.restored] == ["s3://backups/old/1.bin"]
    assert uids(driver) == before
