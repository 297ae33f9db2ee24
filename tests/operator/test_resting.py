"""Clusters at rest: what they cost the API server, and that nothing is noticed later for it."""

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from amaters_operator.app.health import Metrics
from amaters_operator.app.worker import Worker
from amaters_operator.controllers.backups.backup import BackupController
from amaters_operator.controllers.backups.restore import RestoreController
from amaters_operator.controllers.cluster import ClusterController
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.certificates import Authority
from amaters_operator.testing.disk_calls import usage
from amaters_operator.testing.virtual_time import in_virtual_time
from prometheus_client import CollectorRegistry

MOST_REQUESTS_A_SECOND = 0.1
HOUR = 3600.0


def now() -> float:
    return asyncio.get_running_loop().time()


class Operator:
    """The real controllers and queues on a world, without watches: only looks and passes notice."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        parts = (driver.kube, driver.database)
        clusters = ClusterController(*parts, instance="test")
        metrics = Metrics(CollectorRegistry())
        self.passes: list[float] = []

        async def counted(namespace: str, name: str) -> timedelta | None:
            self.passes.append(now())
            return await clusters.reconcile(namespace, name)

        backups = BackupController(*parts, instance="test")
        restores = RestoreController(*parts, instance="test")
        self.workers = [
            Worker("cluster", counted, metrics, clusters.is_unchanged),
            Worker("backup", backups.reconcile, metrics),
            Worker("restore", restores.reconcile, metrics),
        ]

    def wake(self) -> None:
        for worker in self.workers:
            worker.wake("shop", "orders")

    async def noticed(self, *, within: float) -> float:
        """Wait for a pass that is none of rest; return after how long it began."""
        began, before = now(), len(self.passes)
        while len(self.passes) == before:
            assert now() - began <= within, f"not noticed within {within} s"
            await asyncio.sleep(0.5)
        return now() - began

    def requests(self) -> int:
        return sum(self.driver.kube.requests.values())


@asynccontextmanager
async def running(driver: Driver):
    operator = Operator(driver)

    async def world() -> None:
        while True:
            await asyncio.sleep(1)
            driver.world.step(1)

    tasks = [asyncio.create_task(one.run()) for one in operator.workers]
    tasks.append(asyncio.create_task(world()))
    operator.wake()
    try:
        await asyncio.sleep(120)
        assert driver.world.cluster().status.phase == "Running"
        yield operator
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def plain() -> Driver:
    driver = Driver()
    driver.world.edit(replicas=3)
    return driver


def encrypted(**more: object) -> Driver:
    driver, made = plain(), Authority().issue()
    driver.world.store.put(made.secret("shop", "tls"))
    driver.database.arrived = made.serial
    driver.world.edit(tls={"secretName": "tls"}, **more)
    return driver


def with_backups() -> Driver:
    return encrypted(backup={"destination": "s3://backups/orders", "schedule": "0 3 * * *"})


@pytest.mark.slow
@pytest.mark.parametrize("made", [plain, encrypted, with_backups])
def test_a_cluster_at_rest_costs_less_than_a_request_in_ten_seconds(
    made: Callable[[], Driver],
) -> None:
    @in_virtual_time
    async def run() -> None:
        async with running(made()) as operator:
            before, kinds_before = operator.requests(), dict(operator.driver.kube.requests)
            await asyncio.sleep(HOUR)
            spent = {
                right.qualified + " " + right.verb: count - kinds_before.get(right, 0)
                for right, count in operator.driver.kube.requests.items()
            }
            rate = (operator.requests() - before) / HOUR
            print(f"{rate:.4f} requests a second at rest: {spent}")

            assert rate < MOST_REQUESTS_A_SECOND

    run()


@in_virtual_time
async def test_a_renewed_secret_is_noticed_within_half_a_minute() -> None:
    driver = encrypted()
    async with running(driver) as operator:
        await asyncio.sleep(300)
        renewed = Authority().issue()
        driver.world.store.put(renewed.secret("shop", "tls"))

        assert await operator.noticed(within=31) <= 31
        driver.database.arrived = renewed.serial
        await asyncio.sleep(20)
        certificates = driver.world.cluster().status.certificates
        assert certificates is not None
        assert certificates.serial == renewed.serial
        assert certificates.current_pods == "3/3"


@in_virtual_time
async def test_a_deleted_secret_is_noticed_within_half_a_minute() -> None:
    driver = encrypted()
    async with running(driver) as operator:
        await asyncio.sleep(300)
        driver.world.store.delete(kinds.SECRET, "shop", "tls")

        assert await operator.noticed(within=31) <= 31


@in_virtual_time
async def test_the_kind_of_service_monitors_is_noticed_within_two_minutes() -> None:
    driver = plain()
    async with running(driver) as operator:
        await asyncio.sleep(300)
        driver.kube.monitors = True

        assert await operator.noticed(within=80) <= 80
        await asyncio.sleep(1)
        assert driver.world.store.get(kinds.MONITOR, "shop", "orders") is not None
        await asyncio.sleep(120)
        before = len(operator.passes)
        await asyncio.sleep(120)
        assert len(operator.passes) == before


@in_virtual_time
async def test_what_only_the_nodes_know_is_noticed_within_a_look() -> None:
    driver = plain()
    async with running(driver) as operator:
        await asyncio.sleep(300)
        world = driver.world
        world.leader = next(one.id for one in world.voters if one.id != world.leader)
        world.term += 1

        assert await operator.noticed(within=16) <= 16
        await asyncio.sleep(1)
        leader = world.members[world.leader].ordinal
        assert driver.world.cluster().status.leader == f"orders-{leader}"


@in_virtual_time
async def test_a_disk_that_fills_is_noticed_within_a_look_and_a_few_bytes_are_not() -> None:
    driver = plain()
    async with running(driver) as operator:
        disk, total = driver.world.disks[0], usage(driver.world, 0).total
        disk.used = total // 200
        await asyncio.sleep(300)
        before = len(operator.passes)
        disk.used += total // 1000
        await asyncio.sleep(60)
        assert len(operator.passes) == before
        disk.used += total // 10

        assert await operator.noticed(within=16) <= 16


@in_virtual_time
async def test_a_node_that_does_not_answer_is_noticed_within_a_look() -> None:
    driver = plain()
    async with running(driver) as operator:
        await asyncio.sleep(300)
        driver.world.disks[1].member = 0

        assert await operator.noticed(within=16) <= 16


@in_virtual_time
async def test_a_cluster_that_is_not_at_rest_is_read_in_full_as_often_as_before() -> None:
    driver = plain()
    async with running(driver) as operator:
        driver.world.edit(upgrade={"paused": True}, image="amaters:2")
        operator.wake()
        await asyncio.sleep(60)
        before = len(operator.passes)
        await asyncio.sleep(60)

        assert len(operator.passes) - before >= 3


@in_virtual_time
async def test_a_cluster_is_read_in_full_every_ten_minutes_whatever_the_looks_say() -> None:
    driver = plain()
    async with running(driver) as operator:
        driver.world.store.delete(kinds.SERVICE_ACCOUNT, "shop", "orders")
        await asyncio.sleep(700)

        assert driver.world.store.get(kinds.SERVICE_ACCOUNT, "shop", "orders") is not None
        assert len(operator.passes) < 40
