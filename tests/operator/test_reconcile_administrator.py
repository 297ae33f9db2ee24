"""The operator's own certificate on a world in memory: nodes that know it, and nodes that do not."""

import pytest
from amaters_operator.testing import Driver
from amaters_operator.testing.certificates import Authority, Issued

OPERATOR = "amaters-operator"
OWN = {"secretName": "orders-tls", "adminSecretName": "orders-admin"}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def put(driver: Driver, issued: Issued, name: str) -> None:
    driver.world.store.put(issued.secret("shop", name))


def principals(driver: Driver) -> list[object]:
    return [one["cluster"].get("admin_principals") for one in driver.world.started.values()]


def condition(driver: Driver, question: str):
    return next(one for one in driver.world.cluster().status.conditions if one.type == question)


@pytest.fixture
def driver(authority: Authority) -> Driver:
    """A cluster whose operator shows the certificate of the nodes."""
    made = Driver()
    first = authority.issue()
    put(made, first, "orders-tls")
    made.database.arrived = first.serial
    made.world.edit(tls={"secretName": "orders-tls"})
    made.settled()
    return made


def test_without_an_own_certificate_the_nodes_are_not_configured_for_one(driver: Driver) -> None:
    assert principals(driver) == [None] * 3


def test_a_running_cluster_changes_over_node_by_node(driver: Driver, authority: Authority) -> None:
    """In between, some nodes believe only the new certificate and some only the old one."""
    before = {pod["metadata"]["uid"] for pod in driver.world.pods()}
    put(driver, authority.issue(subject_name=OPERATOR), "orders-admin")
    driver.world.edit(tls=OWN)
    mixed = 0
    for _ in range(120):
        driver.once()
        mixed += principals(driver).count([OPERATOR]) in (1, 2)
        if principals(driver) == [[OPERATOR]] * 3:
            break
    driver.settled()

    assert mixed
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in driver.world.pods())
    assert condition(driver, "Ready").status == "True"
    assert condition(driver, "CertificatesCurrent").status == "True"
    driver.world.edit(replicas=5)
    driver.settled()
    assert len(driver.world.members) == 5


def test_a_new_cluster_begins_with_it(authority: Authority) -> None:
    driver = Driver()
    first = authority.issue()
    put(driver, first, "orders-tls")
    put(driver, authority.issue(subject_name=OPERATOR), "orders-admin")
    driver.database.arrived = first.serial
    driver.world.edit(tls=OWN)

    driver.settled()

    assert principals(driver) == [[OPERATOR]] * 3
    assert condition(driver, "Ready").status == "True"


def test_other_names_are_configured_as_written(authority: Authority) -> None:
    driver = Driver()
    first = authority.issue()
    put(driver, first, "orders-tls")
    put(driver, authority.issue(subject_name="ops"), "orders-admin")
    driver.database.arrived = first.serial
    driver.world.edit(tls=OWN | {"adminPrincipals": ["ops", "uri:spiffe://shop/*"]})

    driver.settled()

    assert principals(driver) == [["ops", "uri:spiffe://shop/*"]] * 3


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        (None, "Secret orders-admin of spec.tls.adminSecretName is missing"),
        (
            "other name",
            "is for amaters, dns:localhost, which spec.tls.adminPrincipals does not name",
        ),
        ("other authority", "tls.crt"),
        ("no key", "tls.key is missing"),
    ],
)
def test_a_secret_that_the_nodes_would_refuse_is_named(
    driver: Driver, authority: Authority, secret: str | None, text: str
) -> None:
    issuer = Authority() if secret == "other authority" else authority
    issued = issuer.issue(subject_name="amaters" if secret == "other name" else OPERATOR)
    if secret is not None:
        manifest = issued.secret("shop", "orders-admin")
        if secret == "no key":
            del manifest["data"]["tls.key"]
        driver.world.store.put(manifest)
    driver.world.edit(tls=OWN)

    driver.passes(3)

    found = condition(driver, "Stalled")
    assert (found.status, found.reason) == ("True", "SecretUnusable")
    assert text in found.message
    assert all(one is None for one in principals(driver)), "no node restarts without a way back in"


def test_nodes_that_deny_the_operator_are_named(authority: Authority) -> None:
    """The name was changed on both sides at once: nodes that run know only the old one."""
    driver = Driver()
    first = authority.issue()
    put(driver, first, "orders-tls")
    put(driver, authority.issue(subject_name=OPERATOR), "orders-admin")
    driver.database.arrived = first.serial
    driver.world.edit(tls=OWN)
    driver.settled()
    put(driver, authority.issue(subject_name="ops"), "orders-admin")
    driver.world.edit(tls=OWN | {"adminPrincipals": ["ops"]})

    driver.passes(3)
    told = condition(driver, "Reconciling").message
    driver.world.edit(tls=OWN | {"adminPrincipals": ["ops", OPERATOR]})
    put(driver, authority.issue(subject_name=OPERATOR), "orders-admin")
    driver.settled()

    assert "orders-0, orders-1, orders-2 do not take the operator for an administrator" in told
    assert principals(driver) == [["ops", OPERATOR]] * 3
