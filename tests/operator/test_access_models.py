"""The AmatersAccess as an API: what it takes, what it grants, and its CRD."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from amaters_operator.api.access import AmatersAccess
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.scalars import duration
from pydantic import ValidationError

from tools.generate.access_crd import access_crd


def access(**spec) -> AmatersAccess:
    usual = {"clusterName": "orders", "collections": ["orders"], "verbs": ["read"]}
    meta = {"name": "one", "namespace": "shop", "uid": "u"}
    return AmatersAccess.model_validate({"metadata": meta, "spec": usual | spec})


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90d", timedelta(days=90)),
        ("12h", timedelta(hours=12)),
        ("5m", timedelta(minutes=5)),
        ("1d12h30m5s", timedelta(days=1, hours=12, minutes=30, seconds=5)),
    ],
)
def test_a_period_is_written_as_every_other_time(text: str, time: timedelta) -> None:
    assert access(user={"name": "a", "renewAfter": text}).spec.user.renew_after == text
    assert duration(text) == time


@pytest.mark.parametrize(
    "text", ["", "d", "0d", "0d0h", "1h1d", "1w", "1.5h", "-1d", "100000d", "1d\n", "\u0661d"]
)
def test_another_period_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValidationError, match="such as 3d, 72h, 90m or 1h30m"):
        access(user={"name": "a", "renewAfter": text})


@pytest.mark.parametrize(
    "spec",
    [
        {"user": {"name": "system:serviceaccount:shop:a"}},
        {"user": {"name": ""}},
        {"user": {"name": "a", "credential": "ClientCertificate"}},
        {"collections": []},
        {"collections": ["a\nb"]},
        {"verbs": []},
        {"verbs": ["admin"]},
        {"prefixes": [""]},
        {"prefixesHex": ["0"]},
        {"serviceAccounts": [{"name": "a", "namespace": "a:b"}]},
        {"serviceAccounts": [{"name": "*"}]},
    ],
)
def test_what_would_grant_something_else_than_it_seems_is_refused(spec) -> None:
    with pytest.raises(ValidationError):
        access(**spec)


def test_accounts_are_of_the_objects_own_namespace_unless_they_say_otherwise() -> None:
    named = [{"name": "b"}, {"name": "a", "namespace": "front"}, {"name": "b", "namespace": "shop"}]
    found = access(serviceAccounts=named)

    assert found.accounts == (("shop", "b"), ("front", "a"))
    assert found.who == "b, front/a"


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, dict]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from nodes(part, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if inner in schema:
            yield from nodes(schema[inner], f"{path}[]")


SCHEMA = access_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def test_the_schema_is_structural_and_explains_itself() -> None:
    for path, node in nodes(SCHEMA):
        assert not {"$ref", "$defs", "anyOf", "allOf", "title", "const"} & node.keys(), path
        assert "type" in node, path
    for top in ("spec", "status"):
        for path, node in nodes(SCHEMA["properties"][top], top):
            for name, part in node.get("properties", {}).items():
                assert part.get("description", "").endswith("."), f"{path}.{name}"


def test_rules_say_what_to_do_and_cost_little() -> None:
    ruled = [(path, node) for path, node in nodes(SCHEMA) if "x-kubernetes-validations" in node]
    messages = [one["message"] for _, node in ruled for one in node["x-kubernetes-validations"]]

    assert len(messages) >= 7
    assert all(len(message) >= 40 for message in messages)
    for path, node in ruled:
        assert "maxLength" in node or node["type"] == "object", path
    for _, node in nodes(SCHEMA["properties"]["spec"]):
        assert node["type"] != "array" or "maxItems" in node


PAGE = (Path(__file__).parents[2] / "docs" / "operations" / "access.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SHOWN = [one for block in BLOCKS for one in yaml.safe_load_all(block)]


def shown(kind: str) -> list[dict]:
    return [one for one in SHOWN if one.get("kind") == kind]


def test_the_objects_that_the_page_shows_are_objects_of_the_crd() -> None:
    found = [one["spec"] for one in shown("AmatersAccess")]
    closed = _closed(SCHEMA["properties"]["spec"])

    assert len(found) == 2
    for one in found:
        jsonschema.validate(one, closed)
    assert len(BLOCKS[1].splitlines()) <= 10, "ten lines at most give an application access"


def test_the_pod_that_the_page_shows_has_no_secret_and_the_token_that_is_demanded() -> None:
    [pod] = shown("Pod")
    [cluster] = [one["spec"] for one in SHOWN if "authorization" in one.get("spec", {})]
    [volume] = pod["spec"]["volumes"]
    [container] = pod["spec"]["containers"]
    [token] = [one.get("serviceAccountToken") for one in volume["projected"]["sources"]][:1]
    variables = {one["name"]: one["value"] for one in container["env"]}
    orders = {"metadata": {"name": "o", "namespace": "n", "uid": "u"}, "spec": {"image": "a"}}
    AmatersCluster.model_validate(orders | {"spec": {"image": "a"} | cluster})

    assert "secret" not in json.dumps(pod).lower()
    assert token["audience"] == cluster["authentication"]["kubernetes"]["audience"]
    assert variables["AMATERS_TOKEN_FILE"] == f"{container['volumeMounts'][0]['mountPath']}/token"
    accounts = shown("AmatersAccess")[0]["spec"]["serviceAccounts"]
    assert accounts == [{"name": pod["spec"]["serviceAccountName"]}]


def _closed(schema: dict) -> dict:
    """Return the schema with other fields than its own refused: a misspelt one is no field."""
    kept = dict(schema)
    if "properties" in kept:
        kept["properties"] = {name: _closed(one) for name, one in kept["properties"].items()}
        kept["additionalProperties"] = False
    if isinstance(kept.get("items"), dict):
        kept["items"] = _closed(kept["items"])
    return kept


def test_the_table_shows_who_where_and_whether() -> None:
    crd = access_crd()["spec"]
    columns = crd["versions"][0]["additionalPrinterColumns"]

    assert crd["names"]["shortNames"] == ["ama"]
    assert [one["name"] for one in columns if "priority" not in one] == [
        "Who",
        "Cluster",
        "Ready",
        "Reason",
        "Secret",
        "Renews",
        "Age",
    ]
