"""The operator is killed before and after each change it makes; it always arrives."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import timedelta

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


def shrunk() -> Driver:
    driver = grown()
    driver.world.edit(replicas=2)
    driver.settled()
    driver.passes(2)
    return driver


def return_within_the_quarantine(driver: Driver) -> None:
    driver.world.edit(replicas=3)


def end_of_the_quarantine(driver: Driver) -> None:
    driver.world.step(73 * 3600)


def heal(driver: Driver) -> None:
    driver.world.lose_disk(2)


def restore(driver: Driver) -> None:
    driver.world.edit(
        image="amaters:1",
        replicas=3,
        backup={"destination": "s3://backups/orders"},
        bootstrap={"restoreFrom": "s3://backups/old/1"},
    )


def asking() -> Driver:
    """A roll waits for the approval of its plan."""
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=3, upgrade={"approval": "Manual"})
    driver.settled()
    driver.world.edit(image="amaters:2")
    driver.until(lambda one: bool(one.status.plan))
    return driver


def approve(driver: Driver) -> None:
    driver.world.annotate(approve=driver.world.cluster().status.plan)


def too_many() -> Driver:
    """Shrinking waits for the approval of its plan; the pod that goes leads."""
    driver = Driver()
    driver.world.edit(image="amaters:1", replicas=4, upgrade={"approval": "Manual"})
    driver.settled()
    driver.world.leader = 4
    driver.world.edit(replicas=3)
    driver.until(lambda one: bool(one.status.plan))
    return driver


def before_the_window() -> Driver:
    """A roll waits for its maintenance window."""
    driver = Driver()
    window = {"schedule": "0 14 * * *", "duration": "1h"}
    driver.world.edit(image="amaters:1", replicas=3, upgrade={"maintenanceWindows": [window]})
    driver.settled()
    driver.world.edit(image="amaters:2")
    driver.until(lambda one: bool(one.status.plan))
    return driver


def at(driver: Driver, hour: int) -> None:
    driver.world.now = driver.world.now.replace(hour=hour, minute=0, second=0)


def open_window(driver: Driver) -> None:
    at(driver, 14)


def restart(driver: Driver) -> None:
    driver.world.annotate(restart="now")


STORIES = {
    "bootstrap": (Driver, bootstrap),
    "roll": (grown, roll),
    "grow": (grown, grow),
    "shrink": (grown, shrink),
    "heal": (grown, heal),
    "return": (shrunk, return_within_the_quarantine),
    "quarantine": (shrunk, end_of_the_quarantine),
    "restore": (Driver, restore),
    "approve": (asking, approve),
    "approved shrink": (too_many, approve),
    "window": (before_the_window, open_window),
    "restart": (grown, restart),
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


def left_on_disks(driver: Driver) -> dict[int, list[int]]:
    """Return the removed members whose data is on each disk."""
    return {at: disk.aside for at, disk in driver.world.disks.items()}


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
        assert left_on_disks(driver) == left_on_disks(calm), where
        assert all(replace for _, replace in driver.database.restored[1:]), where
        assert driver.deaths == 1, where


def disturbed(driver: Driver) -> list[str]:
    """What was done to healthy members."""
    taken = ("evict", "transfer", "remove")
    return [one for one in driver.crash_points.changes if one.startswith(taken)]


def killed_everywhere(
    beginning: Driver, tell: Callable[[Driver], None], passes: int
) -> Iterator[Driver]:
    """Yield a world for each change of the story, told so far and with a death at that change.

    Objects that each pass applies again are left out: the stories above die at them.
    """
    calm = deepcopy(beginning)
    start = len(calm.crash_points.changes)
    tell(calm)
    calm.passes(passes)
    changes = calm.crash_points.changes[start:]
    for position in interesting(changes):
        what = changes[position - 1]
        if what.startswith("apply") and not what.endswith("status"):
            continue
        for after in (False, True):
            driver = deepcopy(beginning)
            driver.crash_points.at = start + position
            driver.crash_points.after = after
            tell(driver)
            yield driver


def test_nothing_is_disturbed_without_approval_whenever_it_is_killed() -> None:
    beginning = Driver()
    beginning.world.edit(image="amaters:1", replicas=3, upgrade={"approval": "Manual"})
    beginning.settled()
    plans, deaths = set(), 0

    for driver in killed_everywhere(beginning, roll, passes=8):
        driver.passes(8)
        assert disturbed(driver) == []
        plans.add(driver.world.cluster().status.plan)
        deaths += driver.deaths

    assert len(plans) == 1
    assert plans != {""}
    assert deaths > 3


def test_an_approval_counts_for_one_roll_whenever_it_is_killed() -> None:
    """The image goes back and forth, and the annotation of the first roll stays."""
    deaths = 0
    for driver in killed_everywhere(asking(), approve, passes=30):
        driver.settled()
        done = disturbed(driver)
        for image in ("amaters:1", "amaters:2", "amaters:3", "amaters:2"):
            driver.world.edit(image=image)
            driver.passes(4)
        assert disturbed(driver) == done
        assert driver.most_down <= 1
        deaths += driver.deaths

    assert deaths > 10


def test_a_window_that_closes_stops_the_roll_whenever_it_is_killed() -> None:
    deaths = 0
    for driver in killed_everywhere(before_the_window(), open_window, passes=30):
        while not driver.deaths:
            driver.once()
        at(driver, 15)
        before = disturbed(driver)
        driver.passes(12)
        assert disturbed(driver) == before
        assert driver.most_down <= 1
        driver.world.now += timedelta(days=1)
        open_window(driver)
        assert driver.settled().status.image == "amaters:2"
        deaths += driver.deaths

    assert deaths > 10
