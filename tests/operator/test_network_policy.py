"""Who reaches which port: the policy read as Kubernetes defines it, by an evaluator of its own."""

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple

import pytest
from amaters_operator import manifests
from amaters_operator.__main__ import home
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.conditions import Condition
from amaters_operator.api.members.networking import GatewaySpec
from amaters_operator.decisions import api_refusals
from amaters_operator.kube import kinds
from amaters_operator.kube.errors import ApiRejectedError
from amaters_operator.manifests import names
from amaters_operator.manifests.network.policy import network_policy
from amaters_operator.testing import Driver
from amaters_operator.testing.world import NAME, NAMESPACE
from pydantic import ValidationError
from testbed.policies import selects_labels as selects

OPERATOR = manifests.OperatorPods(
    "systems", {"app.kubernetes.io/name": "amaters-operator", "app.kubernetes.io/instance": "op"}
)
CLIENTS, PEERS, METRICS = 7878, 7879, 9090


class Source(NamedTuple):
    """Where a connection comes from."""

    namespace: str = ""
    labels: Mapping[str, str] = {}
    address: str = "10.1.2.3"


def cluster(**policy) -> AmatersCluster:
    return AmatersCluster.model_validate(
        {
            "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1"},
            "spec": {"image": "amaters:1", "networkPolicy": {"enabled": True} | policy},
        }
    )


def is_peer(peer: dict, source: Source, own_namespace: str) -> bool:
    if "ipBlock" in peer:
        inside = ipaddress.ip_address(source.address)
        block = peer["ipBlock"]
        networks = [ipaddress.ip_network(one) for one in block.get("except", [])]
        return inside in ipaddress.ip_network(block["cidr"]) and not any(
            inside in one for one in networks
        )
    if not source.namespace:
        return False
    if "namespaceSelector" in peer:
        marks = {"kubernetes.io/metadata.name": source.namespace}
        if not selects(peer["namespaceSelector"], marks):
            return False
    elif source.namespace != own_namespace:
        return False
    return selects(peer.get("podSelector", {}), source.labels)


def reaches(policy: dict, source: Source, port: int) -> bool:
    """Whether a connection is let through; a rule without `from` would let everybody through."""
    for rule in policy["spec"]["ingress"]:
        ports = [one["port"] for one in rule.get("ports", [])]
        if ports and port not in ports:
            continue
        own = policy["metadata"]["namespace"]
        if "from" not in rule or any(is_peer(one, source, own) for one in rule["from"]):
            return True
    return False


def open_ports(source: Source, **policy) -> set[int]:
    made = network_policy(cluster(**policy), OPERATOR)
    return {port for port in (CLIENTS, PEERS, METRICS, 8080) if reaches(made, source, port)}


MEMBER = Source("shop", names.labels(cluster()))
APPLICATION = Source("shop", {"app": "checkout"})
STRANGER = Source("elsewhere", {"app": "checkout"})
PROMETHEUS = Source("monitoring", {"app.kubernetes.io/name": "prometheus"})


@pytest.mark.parametrize(
    ("source", "ports"),
    [
        (MEMBER, {CLIENTS, PEERS}),
        (Source("systems", OPERATOR.labels), {CLIENTS, PEERS}),
        (APPLICATION, {CLIENTS}),
        (PROMETHEUS, {METRICS}),
        (STRANGER, set()),
        # What only calls itself so: another namespace, another cluster, another release.
        (Source("elsewhere", OPERATOR.labels), set()),
        (Source("elsewhere", MEMBER.labels), set()),
        (Source("shop", MEMBER.labels | {"app.kubernetes.io/instance": "other"}), {CLIENTS}),
        (Source("systems", OPERATOR.labels | {"app.kubernetes.io/instance": "b"}), set()),
        (Source(address="203.0.113.7"), set()),
    ],
)
def test_without_a_word_more_each_reaches_what_it_needs(source: Source, ports: set[int]) -> None:
    assert open_ports(source) == ports


def test_named_clients_replace_those_of_the_namespace() -> None:
    wanted = [
        {"podSelector": {"matchLabels": {"app": "checkout"}}},
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "web"}},
            "podSelector": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]},
        },
        {"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.9/32"]}},
        {"ipBlock": {"cidr": "fd00::/64"}},
    ]

    assert open_ports(APPLICATION, clients=wanted) == {CLIENTS}
    assert open_ports(Source("shop", {"app": "other"}), clients=wanted) == set()
    assert open_ports(Source("web", {"tier": "1"}), clients=wanted) == {CLIENTS}
    assert open_ports(Source("web", {}), clients=wanted) == set()
    assert open_ports(Source(address="203.0.113.7"), clients=wanted) == {CLIENTS}
    assert open_ports(Source(address="203.0.113.9"), clients=wanted) == set()
    assert open_ports(Source(address="fd00::5"), clients=wanted) == {CLIENTS}
    assert open_ports(MEMBER, clients=wanted) == {CLIENTS, PEERS}


def test_an_empty_list_lets_nobody_through_and_never_everybody() -> None:
    nobody = {"clients": [], "monitoring": []}

    assert open_ports(APPLICATION, **nobody) == set()
    assert open_ports(PROMETHEUS, **nobody) == set()
    assert open_ports(MEMBER, **nobody) == {CLIENTS, PEERS}
    for rule in network_policy(cluster(**nobody), OPERATOR)["spec"]["ingress"]:
        assert rule["from"]


def test_administrators_and_monitoring_are_let_through_where_they_are_named() -> None:
    tools = {"podSelector": {"matchLabels": {"app": "cli"}}}
    agent = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "agent"}}}
    named = {"administrators": [tools], "monitoring": [agent]}

    assert open_ports(Source("shop", {"app": "cli"}), **named) == {CLIENTS, PEERS}
    assert open_ports(Source("web", {"app": "agent"}), **named) == {METRICS}
    assert open_ports(PROMETHEUS, **named) == set()


def test_it_is_about_every_pod_of_the_cluster_and_no_other() -> None:
    orders = cluster()
    selector = network_policy(orders, OPERATOR)["spec"]["podSelector"]

    assert selects(selector, names.labels(orders))
    assert not selects(selector, APPLICATION.labels)


@pytest.mark.parametrize("network", ["10.0.0.0", "10.0.0.0/33", "fd00::/129", "here/8"])
def test_what_is_no_network_is_refused_with_what_to_write(network: str) -> None:
    with pytest.raises(ValidationError, match="write a network as ADDRESS/LENGTH"):
        cluster(clients=[{"ipBlock": {"cidr": network}}])


def policy_now(driver: Driver) -> dict | None:
    return driver.world.store.get(kinds.NETWORK_POLICY, NAMESPACE, NAME)


def condition(driver: Driver, kind: str) -> Condition:
    return next(one for one in driver.world.cluster().status.conditions if one.type == kind)


def test_it_comes_goes_and_follows_the_spec() -> None:
    driver = Driver()
    driver.world.edit(replicas=1)
    driver.settled()
    assert policy_now(driver) is None

    driver.world.edit(networkPolicy={"enabled": True})
    driver.settled()
    revision = driver.world.cluster().status.upgrade.revision
    first = policy_now(driver)
    driver.world.edit(networkPolicy={"enabled": True, "clients": []})
    driver.settled()
    second = policy_now(driver)
    driver.world.edit(networkPolicy={"enabled": False})
    driver.settled()

    assert first["spec"] != second["spec"]
    assert policy_now(driver) is None
    assert driver.world.cluster().status.upgrade.revision == revision, "no pod is rolled for it"


def test_an_operator_that_is_no_pod_shuts_nobody_out_and_says_why() -> None:
    driver = Driver(home=manifests.Home())
    driver.world.edit(replicas=1, networkPolicy={"enabled": True})
    driver.passes(30)

    stalled = condition(driver, "Stalled")
    assert (stalled.status, stalled.reason) == ("True", "OperatorUnknown")
    assert "POD_NAMESPACE" in stalled.message
    assert policy_now(driver) is None
    assert condition(driver, "Ready").status == "True"


def test_a_policy_of_somebody_else_is_left_alone() -> None:
    driver = Driver()
    theirs = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"podSelector": {}},
    }
    driver.world.edit(replicas=1)
    driver.settled()
    driver.world.store.put(theirs)
    driver.passes(3)
    assert policy_now(driver)["spec"] == theirs["spec"], "not deleted: it is not ours"

    driver.world.edit(networkPolicy={"enabled": True})
    driver.passes(3)

    assert policy_now(driver)["spec"] == theirs["spec"]
    assert f"NetworkPolicy {NAME} exists" in condition(driver, "Stalled").message


def test_a_refused_policy_names_the_field_of_the_cluster() -> None:
    driver = Driver()
    answer = 'NetworkPolicy "orders" is invalid: spec.ingress[1].from[0].podSelector: Invalid value'
    driver.kube.refusals[f"NetworkPolicy {NAME}"] = ApiRejectedError(answer)
    driver.world.edit(replicas=1, networkPolicy={"enabled": True})
    driver.passes(20)

    assert "Correct spec.networkPolicy" in condition(driver, "Stalled").message


@pytest.mark.parametrize(
    "answer",
    [
        (
            'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured '
            "for dual-stack services"
        ),
        (
            'spec.clusterIPs[0]: Invalid value: "10.96.217.133": expected an IPv6 value as indicated '
            "by `ipFamilies[0]`"
        ),
    ],
    ids=["a family that is missing", "another first family"],
)
def test_families_that_kubernetes_refuses_name_the_field_of_the_cluster(answer: str) -> None:
    assert api_refusals.field_in(f'Service "orders" is invalid: {answer}') == "spec.networking"


def test_the_operator_knows_its_own_pods_by_what_the_chart_tells_them() -> None:
    told = {"POD_NAMESPACE": "systems", "POD_APP": "amaters-operator", "POD_INSTANCE": "op"}

    assert home(told | {"POD_IP": "10.0.0.1"}) == manifests.Home(OPERATOR)
    assert home(told | {"POD_IP": "fd00::1"}) == manifests.Home(OPERATOR, ipv6=True)
    assert home({"POD_NAMESPACE": "systems"}).pods is None


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("enabled", [True, False], ids=["on", "off"])
def test_a_switch_arrives_whenever_the_operator_is_killed(*, enabled: bool, after: bool) -> None:
    for position in range(1, 12):
        driver = Driver()
        driver.world.edit(replicas=1, networkPolicy={"enabled": not enabled})
        driver.settled()
        driver.world.edit(networkPolicy={"enabled": enabled})
        driver.crash_points.at = len(driver.crash_points.changes) + position
        driver.crash_points.after = after
        driver.passes(2)
        driver.settled()

        assert (policy_now(driver) is not None) == enabled, position


@pytest.mark.parametrize("enabled", [True, False])
def test_the_clients_reach_the_gateway_where_there_is_one(enabled):
    made = cluster(clients=[{"podSelector": {"matchLabels": {"app": "shop"}}}])
    spec = made.spec.model_copy(update={"gateway": GatewaySpec(enabled=enabled)})
    policy = network_policy(made.model_copy(update={"spec": spec}), OPERATOR)
    shop = Source("shop", {"app": "shop"})

    assert reaches(policy, shop, 8080) is enabled
    assert not reaches(policy, Source("shop", {"app": "other"}), 8080)
