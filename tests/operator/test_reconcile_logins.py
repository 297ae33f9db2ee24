"""Authentication of clients on a world in memory: switched on, corrected, and not possible."""

import tomllib
from typing import Any

import pytest
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver

KEYS = {"apiKey": {"secretName": "orders-keys"}}


def secret(**data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "orders-keys", "namespace": "shop"},
        "data": data or {"api-keys.json": "e30="},
    }


def condition(driver: Driver, question: str):
    return next(one for one in driver.world.cluster().status.conditions if one.type == question)


def uids(driver: Driver) -> set[str]:
    return {pod["metadata"]["uid"] for pod in driver.world.pods()}


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.world.edit(replicas=3)
    made.settled()
    return made


@pytest.fixture
def authenticated(driver: Driver) -> Driver:
    driver.world.store.put(secret())
    driver.world.edit(authentication=KEYS)
    driver.settled()
    return driver


def test_switching_it_on_restarts_the_nodes_one_by_one(driver: Driver) -> None:
    before = uids(driver)
    driver.world.store.put(secret())
    driver.world.edit(authentication=KEYS)
    driver.settled()

    assert before.isdisjoint(uids(driver))
    assert [one["auth"]["enabled"] for one in driver.world.started.values()] == [True] * 3
    assert driver.most_down <= 1


def test_a_corrected_secret_is_reloaded_without_a_restart(authenticated: Driver) -> None:
    before, files = uids(authenticated), dict(authenticated.world.digests)
    authenticated.world.store.put(secret(**{"api-keys.json": "eyJrIjogMX0="}))
    authenticated.passes(2)
    authenticated.settled()

    assert uids(authenticated) == before
    assert all(authenticated.world.digests[one] != digest for one, digest in files.items())


def test_roles_are_reloaded_without_a_restart(authenticated: Driver) -> None:
    before = uids(authenticated)
    authenticated.world.edit(
        authorization={"roles": [{"name": "unassigned"}], "defaultRole": "unassigned"}
    )
    authenticated.settled()
    first = dict(authenticated.world.digests)
    authenticated.world.edit(
        authorization={
            "roles": [{"name": "unassigned", "description": "may do nothing"}],
            "defaultRole": "unassigned",
        }
    )
    authenticated.settled()

    assert uids(authenticated) == before
    loaded = authenticated.world.configs.values()
    assert [one["authz"]["default_role"] for one in loaded] == ["unassigned"] * 3
    assert first != authenticated.world.digests, "another content of the file is another digest"


@pytest.mark.parametrize(
    ("present", "text"),
    [
        (None, "Secret orders-keys of spec.authentication.apiKey.secretName is missing"),
        ({"keys": "e30="}, "spec.authentication.apiKey.secretName has no api-keys.json"),
    ],
)
def test_no_node_restarts_without_its_secret(
    driver: Driver, present: dict[str, str] | None, text: str
) -> None:
    """The kubelet would start no pod: a node must not run without the keys it checks by."""
    before = uids(driver)
    if present is not None:
        driver.world.store.put(secret(**present))
    driver.world.edit(authentication=KEYS)
    driver.passes(20)

    found = condition(driver, "Stalled")
    assert (found.status, found.reason) == ("True", "SecretUnusable")
    assert text in found.message
    assert uids(driver) == before
    driver.world.store.put(secret())
    driver.settled()
    assert before.isdisjoint(uids(driver))


def test_the_content_of_a_secret_is_in_no_object(authenticated: Driver) -> None:
    config = authenticated.world.store.get(kinds.CONFIG_MAP, "shop", "orders-config")

    assert "e30=" not in str(config)
    assert tomllib.loads(config["data"]["config.toml"])["auth"]["methods"] == ["api_key"]
