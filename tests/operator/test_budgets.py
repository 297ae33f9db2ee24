"""Requests to the API: each cluster has its own bucket, all have one bound, patience holds for all."""

import asyncio

from amaters_operator.kube.budgets import Budgets, spend_as
from amaters_operator.testing.virtual_time import in_virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


class Api:
    """Where requests arrive; each takes a while."""

    def __init__(self, budgets: Budgets, takes: float = 0.0) -> None:
        self.budgets, self.takes = budgets, takes
        self.at: dict[str, list[float]] = {}
        self.flying = self.most = 0

    async def cluster(self, name: str, requests: int, *, together: int = 8) -> None:
        spend_as(name)

        async def ask() -> None:
            async with self.budgets.request():
                self.flying += 1
                self.most = max(self.most, self.flying)
                self.at.setdefault(name, []).append(now())
                await asyncio.sleep(self.takes)
                self.flying -= 1

        for _ in range(0, requests, together):
            await asyncio.gather(*(ask() for _ in range(together)))


@in_virtual_time
async def test_a_cluster_may_burst_and_then_keeps_to_its_rate() -> None:
    api = Api(Budgets(now, rate=10, burst=20))
    await asyncio.create_task(api.cluster("a", 120))

    assert len([one for one in api.at["a"] if one < 0.01]) == 20
    assert 9.8 <= api.at["a"][-1] <= 10.2


@in_virtual_time
async def test_a_cluster_gone_wild_costs_the_others_nothing() -> None:
    api = Api(Budgets(now, rate=10, burst=20))
    wild = asyncio.create_task(api.cluster("wild", 100_000))
    await asyncio.sleep(5)
    began = now()
    await asyncio.create_task(api.cluster("calm", 16))
    wild.cancel()

    assert now() - began < 0.01
    assert len(api.at["wild"]) <= 20 + 10 * 5 + 8


@in_virtual_time
async def test_all_together_are_bound_and_served_in_order() -> None:
    api = Api(Budgets(now, rate=1000, burst=1000, together=4), takes=1.0)
    clusters = [asyncio.create_task(api.cluster(f"c{n}", 8)) for n in range(10)]
    await asyncio.gather(*clusters)

    assert api.most == 4
    assert now() == 20
    firsts = [times[0] for times in api.at.values()]
    assert firsts == sorted(firsts)


@in_virtual_time
async def test_patience_holds_for_all_and_may_grow() -> None:
    budgets = Budgets(now)
    api = Api(budgets)
    budgets.quiet_for(10)
    tasks = [asyncio.create_task(api.cluster(f"c{n}", 8)) for n in range(10)]
    await asyncio.sleep(5)
    budgets.quiet_for(20)
    budgets.quiet_for(1)
    await asyncio.gather(*tasks)

    assert {one for times in api.at.values() for one in times} == {25.0}


@in_virtual_time
async def test_buckets_of_clusters_that_are_gone_take_no_memory() -> None:
    budgets = Budgets(now)
    api = Api(budgets)
    for number in range(5000):
        await asyncio.create_task(api.cluster(f"c{number}", 8))
        await asyncio.sleep(1)

    assert len(budgets._full_at) < 600
