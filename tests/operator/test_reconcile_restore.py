"""A cluster that begins with a backup: loaded beside everything else, and corrected meanwhile."""

import asyncio

import pytest
from amaters_operator.controllers.backups import restore
from amaters_operator.controllers.backups.restore import RestoreController
from amaters_operator.controllers.cluster import ClusterController
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver

PLACE = ("shop", "orders")
BACKUP = {"destination": "s3://backups/orders"}
OLD = "s3://backups/old/1.bin"


def condition(cluster, question: str):
    return next(one for one in cluster.status.conditions if one.type == question)


def events(driver: Driver) -> dict[str, int]:
    """Return how often each Event object was written, by its reason."""
    found = driver.world.store.find(kinds.EVENT, "shop", {})
    return {one["reason"]: (one.get("series") or {}).get("count", 1) for one in found}


@pytest.fixture
def formed() -> Driver:
    """Return a cluster that has formed, and whose backup cannot be loaded yet."""
    made = Driver()
    made.world.edit(image="amaters:1", backup=BACKUP, bootstrap={"restoreFrom": OLD})
    made.database.store_fails = "access denied"
    made.until(lambda one: one.status.restore is not None and one.status.restore.failures > 0)
    return made


async def begun(driver: Driver) -> asyncio.Task:
    """Begin a load that does not end by itself."""
    clusters = ClusterController(driver.kube, driver.database, instance="test")
    driver.database.store_fails = ""
    driver.database.loading = asyncio.Event()
    driver.world.edit(backup=BACKUP | {"region": "eu-1"})
    await clusters.reconcile(*PLACE)  # It has the nodes reload where the backups are.
    restores = RestoreController(driver.kube, driver.database, instance="test")
    load = asyncio.create_task(restores.reconcile(*PLACE))
    async with asyncio.timeout(5):
        while not driver.database.restored:
            await asyncio.sleep(0.001)
    return load


async def passes(driver: Driver, number: int) -> None:
    clusters = ClusterController(driver.kube, driver.database, instance="test")
    for _ in range(number):
        async with asyncio.timeout(1):
            await clusters.reconcile(*PLACE)
        driver.world.step(2)


@pytest.mark.slow
async def test_a_load_that_takes_long_holds_up_no_pass(formed: Driver) -> None:
    load = await begun(formed)

    formed.world.edit(image="amaters:2")
    await passes(formed, 40)
    meanwhile = formed.world.cluster()
    formed.database.loading.set()
    async with asyncio.timeout(5):
        await load
    await passes(formed, 2)
    cluster = formed.world.cluster()

    assert meanwhile.status.image == "amaters:2"
    assert meanwhile.status.phase == "Restoring"
    assert condition(meanwhile, "Reconciling").status == "True"
    assert cluster.status.bootstrap.restored_from == OLD
    assert (cluster.status.restore.keys, cluster.status.phase) == (7, "Running")


async def test_what_is_corrected_while_a_load_runs_begins_it_again(
    formed: Driver, monkeypatch
) -> None:
    monkeypatch.setattr(restore, "LOOK_SECONDS", 0.01)
    load = await begun(formed)

    formed.world.edit(bootstrap={"restoreFrom": "s3://backups/old/2.bin"})
    async with asyncio.timeout(5):
        await load
    ended = formed.world.cluster()
    formed.database.loading = None
    formed.database.files_arrive = True
    await passes(formed, 2)
    restores = RestoreController(formed.kube, formed.database, instance="test")
    await restores.reconcile(*PLACE)

    assert not ended.status.restore.loaded_from
    assert events(formed)["RestoreCorrected"] == 1
    assert formed.database.restored[-1] == ("s3://backups/old/2.bin", True)
    assert formed.world.cluster().status.restore.loaded_from == "s3://backups/old/2.bin"


async def test_a_load_that_runs_goes_on_whatever_else_is_changed(
    formed: Driver, monkeypatch
) -> None:
    monkeypatch.setattr(restore, "LOOK_SECONDS", 0.01)
    load = await begun(formed)

    formed.world.edit(replicas=5)
    await asyncio.sleep(0.1)
    running = not load.done()
    formed.database.loading.set()
    await load

    assert running
    assert formed.world.cluster().status.restore.loaded_from == OLD
    assert len(formed.database.restored) == 1


def test_an_operator_that_dies_in_a_load_begins_it_again(formed: Driver) -> None:
    async def interrupted() -> None:
        load = await begun(formed)
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)

    asyncio.run(interrupted())
    formed.database.loading = None
    cluster = formed.until(lambda one: one.status.phase == "Running")

    assert formed.database.restored == [(OLD, True), (OLD, True)]
    assert cluster.status.bootstrap.restored_from == OLD


def test_an_attempt_waits_until_every_node_knows_the_corrected_place(formed: Driver) -> None:
    failures = formed.world.cluster().status.restore.failures
    formed.database.store_fails = ""
    formed.database.files_arrive = False
    formed.world.edit(backup=BACKUP | {"region": "eu-1"})
    formed.passes(5)
    waiting = formed.world.cluster()

    formed.world.load_config(0)
    formed.world.load_config(1)
    formed.passes(2)
    partly = formed.world.cluster()
    attempts = list(formed.database.restored)
    formed.database.files_arrive = True
    cluster = formed.settled()

    assert "on its way to orders-0, orders-1, orders-2" in waiting.status.restore.waiting
    assert "on its way to orders-0" in condition(waiting, "Ready").message
    assert "on its way to orders-2:" in partly.status.restore.waiting
    assert attempts == []
    assert partly.status.restore.failures == failures
    assert cluster.status.bootstrap.restored_from == OLD


@pytest.mark.slow
def test_wrong_credentials_are_one_event_object_for_one_state(formed: Driver) -> None:
    before = events(formed)
    formed.passes(38)  # 76 seconds
    after = events(formed)
    print(f"in 76 s: {before} -> {after}")

    assert after["RestoreFailed"] == 1
    assert sum(after.values()) == sum(before.values())


def test_a_cluster_that_an_earlier_operator_restored_is_not_restored_again(formed: Driver) -> None:
    formed.database.store_fails = ""
    formed.world.edit(backup=BACKUP | {"region": "eu-1"})
    formed.settled()
    entry = formed.world.store.entries[kinds.CLUSTER, "shop", "orders"]
    for applied in [entry.own, *entry.applied.values()]:
        (applied.get("status") or {}).pop("restore", None)
    assert formed.world.cluster().status.restore is None

    formed.passes(5)

    assert len(formed.database.restored) == 1
    assert formed.world.cluster().status.bootstrap.restored_from == OLD
