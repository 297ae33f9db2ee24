"""The operator is killed at each write that AmatersAccess objects make; keys and rights arrive."""

import base64
import json
from copy import deepcopy
from datetime import timedelta

import pytest
from amaters_operator.kube import kinds
from amaters_operator.manifests.access_secret import digest_of
from amaters_operator.testing import Driver
from amaters_operator.testing.accesses import access, apply, delete, known_hashes, read

pytestmark = pytest.mark.slow

LOGINS = {"kubernetes": {"audience": "amaters"}, "apiKey": {}}
USER = access("reports", user={"name": "reporter", "renewAfter": "10d", "overlap": "2d"})
PODS = access("checkout", serviceAccounts=[{"name": "checkout"}])


def grown() -> Driver:
    driver = Driver()
    driver.world.edit(replicas=3, authentication=LOGINS)
    driver.settled()
    return driver


def given() -> Driver:
    driver = grown()
    create(driver)
    driver.passes(6)
    return driver


def create(driver: Driver) -> None:
    apply(driver, USER, PODS)


def renew(driver: Driver) -> None:
    driver.world.now += timedelta(days=10)


def lose(driver: Driver) -> None:
    driver.world.store.delete(kinds.SECRET, "shop", "reports-login")


def narrow(driver: Driver) -> None:
    for one in (USER, PODS):
        apply(driver, one | {"spec": one["spec"] | {"verbs": ["read"]}})


def take_away(driver: Driver) -> None:
    delete(driver, "reports")


STORIES = {
    "create": (grown, create),
    "renew": (given, renew),
    "lose": (given, lose),
    "narrow": (given, narrow),
    "take away": (given, take_away),
}


def key(driver: Driver) -> str:
    found = driver.world.store.get(kinds.SECRET, "shop", "reports-login")
    return "" if found is None else base64.b64decode(found["data"]["api-key"]).decode()


def ready(driver: Driver, name: str) -> bool:
    found = {one.type: one.status for one in read(driver, name).status.conditions}
    return found == {"Ready": "True", "Reconciling": "False", "Stalled": "False"}


def arrived(driver: Driver, story: str, first: str) -> bool:
    """Whether the story has ended well, on every node."""
    if story == "take away":
        gone = driver.world.store.get(kinds.SECRET, "shop", "reports-login") is None
        return gone and all(not known_hashes(driver, one) for one in driver.world.configs)
    if story == "renew" and key(driver) == first:
        return False
    files = driver.world.files.values()
    if story == "narrow" and any('"write"' in _of_objects(one["roles.toml"]) for one in files):
        return False
    known = [digest_of(key(driver)) in known_hashes(driver, one) for one in driver.world.configs]
    return all(known) and ready(driver, "reports") and ready(driver, "checkout")


def _of_objects(roles: str) -> str:
    return roles[roles.index("access:") :]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("story", STORIES)
def test_an_operator_killed_at_any_write_arrives(story: str, after: bool) -> None:
    make, tell = STORIES[story]
    beginning = make()
    first = key(beginning)
    calm = deepcopy(beginning)
    start = len(calm.crash_points.changes)
    tell(calm)
    calm.passes(8)
    assert arrived(calm, story, first)
    steps = len(calm.crash_points.changes) - start

    for position in range(1, steps + 1):
        driver = deepcopy(beginning)
        tell(driver)
        driver.crash_points.at = len(driver.crash_points.changes) + position
        driver.crash_points.after = after
        for _ in range(20):
            driver.once()
            if story in ("renew", "narrow"):
                for one in driver.world.configs:
                    assert digest_of(key(driver)) in known_hashes(driver, one), position
            if driver.deaths and arrived(driver, story, first):
                break

        where = f"killed {'after' if after else 'before'} change {position} of {story}"
        assert driver.deaths == 1, where
        assert arrived(driver, story, first), where
        assert driver.most_down == 0, where
        entries = json.loads(driver.world.files[0].get("access-keys.json", "[]"))
        assert len(entries) <= 2, where
