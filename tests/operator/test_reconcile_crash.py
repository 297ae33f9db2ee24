"""The operator is killed before and after each change it makes; it always arrives."""

from copy import deepcopy

import pytest
from amaters_operator.testing import Driver

pytestmark = pytest.mark.slow


def grown() -> Driver:
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=3)
    driver.settled()
    return driver


def bootstrap(driver: Driver) -> None:
    driver.world.edit(image="amaters:1", replicas=3)


def roll(driver: Driver) -> None:
    driver.world.edit(image="amaters:2")


def grow(driver: Driver) -> None:
    driver.world.edit(replicas=4)


def shrink(driver: Driver) -> None:
    driver.world.leader = 3
    driver.world.edit(replicas=1)


def heal(driver: Driver) -> None:
    driver.world.lose_disk(2)


def restore(driver: Driver) -> None:
    driver.world.edit(
        image="amaters:1",
        replicas=3,
        backup={"destination": "s3://backups/orders"},
        bootstrap={"restoreFrom": "s3://backups/old/1"},
    )


STORIES = {
    "bootstrap": (Driver, bootstrap),
    "roll": (grown, roll),
    "grow": (grown, grow),
    "shrink": (grown, shrink),
    "heal": (grown, heal),
    "restore": (Driver, restore),
}


def interesting(changes: list[str]) -> list[int]:
    """Positions of changes worth dying at: each kind of change, at its first few times."""
    observed: dict[str, int] = {}
    chosen = []
    for position, what in enumerate(changes, start=1):
        kind = " ".join(what.split()[:2])
        observed[kind] = observed.get(kind, 0) + 1
        if observed[kind] <= 6 or not what.startswith("apply"):
            chosen.append(position)
    return chosen


@pytest.mark.parametrize(
    "died_after", ["apply ConfigMap orders-config", "apply StatefulSet orders"]
)
def test_an_edit_while_the_operator_is_dead_does_not_change_who_founds_the_cluster(
    died_after: str,
) -> None:
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=3)
    driver.crash_points.named, driver.crash_points.after = died_after, True
    driver.passes(1)
    driver.world.edit(replicas=5)

    cluster = driver.settled(within=200)

    assert driver.deaths == 1
    assert len(cluster.status.bootstrap.initial_members) == 3
    assert driver.world.clusters_formed == 1
    assert cluster.status.ready == "5/5"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES)
def test_it_arrives_whenever_it_is_killed(story: str, after: bool) -> None:
    make, tell = STORIES[story]
    beginning = make()
    calm = deepcopy(beginning)
    start = len(calm.crash_points.changes)
    tell(calm)
    calm.passes(1)
    end = calm.settled()
    steps = interesting(calm.crash_points.changes[start:])
    assert len(steps) > 10

    for position in steps:
        driver = deepcopy(beginning)
        tell(driver)
        driver.crash_points.at = len(driver.crash_points.changes) + position
        driver.crash_points.after = after
        driver.passes(1)
        arrived = driver.settled()

        where = f"killed {'after' if after else 'before'} change {position} of {story}"
        assert driver.most_down <= 1, where
        assert driver.world.clusters_formed == 1, where
        assert driver.world.has_quorum(), where
        assert arrived.status.ready == end.status.ready, where
        assert arrived.status.image == end.status.image, where
        assert sorted(one.ordinal for one in driver.world.voters) == sorted(
            one.ordinal for one in calm.world.voters
        ), where
        assert all(replace for _, replace in driver.database.restored[1:]), where
        assert driver.deaths == 1, where
