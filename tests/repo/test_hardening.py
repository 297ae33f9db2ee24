"""The hardening page and the threat model: what they print works, what they cite exists."""

import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import config, names
from amaters_server.access import roles
from amaters_server.access.access import Access
from amaters_server.config.load import Loaded, Sources, load

from tools.generate.chart import values_schema

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "hardening.md").read_text()
TOML = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
YAML = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FLAGS = {
    "cluster.advertise_address": "orders-0.orders-peers.shop.svc:7879",
    "cluster.client_advertise_address": "orders-0.orders-peers.shop.svc:7878",
}


def objects(kind: str) -> list[dict[str, Any]]:
    found = [one for block in YAML for one in yaml.safe_load_all(block)]
    return [one for one in found if one["kind"] == kind]


def cluster() -> AmatersCluster:
    [written] = objects("AmatersCluster")
    written["metadata"]["uid"] = "uid-1"
    return AmatersCluster.model_validate(written)


def shape(of: AmatersCluster) -> manifests.Shape:
    return manifests.Shape(3, manifests.initial_members(of), formed=True, volume_size="1Gi")


def read(tmp_path: Path, text: str, **flags: Any) -> Loaded:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load(Sources(path=file, flags=flags))


def test_the_toml_is_a_whole_configuration_without_a_doubt(tmp_path: Path) -> None:
    server, written = TOML
    loaded = read(tmp_path, server)
    file = tmp_path / "roles.toml"
    file.write_text(written)

    Access(loaded.settings.authz, roles.load(file))

    assert loaded.notices == ()
    assert loaded.settings.auth.uses("jwt")
    # What the page leaves to a default is not misspelt: every key arrived.
    for table, keys in tomllib.loads(server).items():
        section = getattr(loaded.settings, table)
        assert set(keys) <= section.model_fields_set


def test_the_spec_has_no_field_that_the_crd_does_not_know() -> None:
    [written] = objects("AmatersCluster")
    spec = written["spec"]
    image, tag = spec.pop("image").split(":")

    jsonschema.validate(
        spec | {"image": {"repository": image, "tag": tag}},
        values_schema(),
        cls=jsonschema.Draft7Validator,
    )


def test_the_spec_becomes_a_configuration_without_a_doubt(tmp_path: Path) -> None:
    orders = cluster()
    data = config.config_map(orders, shape(orders))["data"]
    loaded = read(tmp_path, data["config.toml"], **FLAGS)
    file = tmp_path / "roles.toml"
    file.write_text(data["roles.toml"])

    access = Access(loaded.settings.authz, roles.load(file))

    assert loaded.notices == ()
    assert access is not None
    named = [role for some in loaded.settings.auth.kubernetes.roles.values() for role in some]
    assert set(named) <= set(roles.load(file))


def test_a_client_shows_the_token_that_the_cluster_demands() -> None:
    orders = cluster()
    [pod] = objects("Pod")
    [volume] = pod["spec"]["volumes"]
    [token] = [
        one["serviceAccountToken"]
        for one in volume["projected"]["sources"]
        if "serviceAccountToken" in one
    ]
    kubernetes = orders.spec.authentication and orders.spec.authentication.kubernetes
    account = pod["spec"]["serviceAccountName"]
    [mount] = pod["spec"]["containers"][0]["volumeMounts"]
    variables = {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}

    assert kubernetes is not None
    assert token["audience"] == kubernetes.audience
    assert f"system:serviceaccount:shop:{account}" in kubernetes.roles
    assert variables["AMATERS_TOKEN_FILE"] == f"{mount['mountPath']}/{token['path']}"
    assert variables["AMATERS_SERVER_URL"] == f"orders.shop.svc:{names.CLIENT_PORT}"


def test_the_network_policy_is_for_these_pods_and_their_ports() -> None:
    orders = cluster()
    [policy] = objects("NetworkPolicy")
    spec = policy["spec"]
    ports = {one["port"] for part in spec["ingress"] for one in part["ports"]}
    [operator] = [
        one
        for part in spec["ingress"]
        if {"port": names.PEER_PORT} in part["ports"]
        for one in part["from"]
        if "namespaceSelector" in one
    ]

    assert spec["podSelector"]["matchLabels"] == names.selector_labels(orders)
    assert ports == {names.CLIENT_PORT, names.PEER_PORT, names.HTTP_PORT}
    assert operator["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "amaters-operator"}


def test_the_certificates_are_for_the_names_that_members_have() -> None:
    orders = cluster()
    tls = orders.spec.tls
    issued = {one["spec"]["secretName"]: one["spec"] for one in objects("Certificate")}

    assert tls is not None
    assert set(issued) == {tls.secret_name, tls.admin_secret_name}
    peers = f"*.{names.host(orders, 0).partition('.')[2]}"
    assert set(issued[tls.secret_name]["dnsNames"]) == {"orders.shop.svc", peers}
    assert issued[tls.admin_secret_name]["commonName"] in tls.administrators


THREATS = re.findall(r"^\|.*\|$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
CITED = sorted({name for row in THREATS for name in re.findall(r"`(test_\w+)`", row)})


@pytest.fixture(scope="module")
def tests() -> str:
    return "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


def test_every_threat_names_a_test_that_exists(tests: str) -> None:
    rows = [row for row in THREATS if row.count("|") == 5]

    assert len(rows) > 15
    assert [row for row in rows[2:] if "`test_" not in row] == []
    assert [name for name in CITED if not re.search(rf"\bdef {name}\b", tests)] == []
