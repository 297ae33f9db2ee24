import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from amaters_operator.api.schedules import SCHEDULE_PATTERN
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from tools.generate.chart import values_schema
from tools.generate.crd import cluster_crd
from tools.generate.schema import UnsupportedSchemaError, structural, without_defaults

ROOT = Path(__file__).parents[2]


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, dict]]:
    if isinstance(schema, dict):
        yield path, schema
        for name, part in schema.get("properties", {}).items():
            yield from nodes(part, f"{path}.{name}")
        for inner in ("items", "additionalProperties"):
            if inner in schema:
                yield from nodes(schema[inner], f"{path}[]")


@pytest.fixture(scope="module")
def schema() -> dict:
    return cluster_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


class Inner(BaseModel):
    """Inside."""

    count: int = Field(default=3, description="How many.")


class Outer(BaseModel):
    inner: Inner = Inner()
    maybe: Inner | None = None
    names: list[Inner] = []


def test_references_optionals_and_titles_are_unfolded() -> None:
    inner = {
        "type": "object",
        "description": "Inside.",
        "properties": {"count": {"type": "integer", "description": "How many.", "default": 3}},
    }

    assert structural(Outer)["properties"] == {
        "inner": inner | {"default": {"count": 3}},
        "maybe": inner,
        "names": {"type": "array", "items": inner, "default": []},
    }


def test_a_choice_of_types_is_refused_with_the_field_named() -> None:
    class Either(BaseModel):
        field: int | str

    with pytest.raises(UnsupportedSchemaError, match="Field may be one of 2 types"):
        structural(Either)


def test_without_defaults_removes_them_at_every_depth() -> None:
    bare = without_defaults(structural(Outer))

    assert not [path for path, node in nodes(bare) if "default" in node or "required" in node]


def test_every_node_of_the_crd_is_structural(schema: dict) -> None:
    for path, node in nodes(schema):
        assert not {"$ref", "$defs", "anyOf", "allOf", "title", "const"} & node.keys(), path
        typed = "type" in node or node.get("x-kubernetes-int-or-string")
        assert typed, f"{path} has no type"


def test_every_field_explains_itself(schema: dict) -> None:
    for top in ("spec", "status"):
        for path, node in nodes(schema["properties"][top], top):
            for name, part in node.get("properties", {}).items():
                text = part.get("description", "")
                assert text.endswith((".", ".svc.")), f"{path}.{name} lacks a description"


CRDS = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
by_crd = pytest.mark.parametrize("crd", CRDS, ids=lambda one: one["spec"]["names"]["kind"])


@by_crd
def test_kubectl_explains_every_field_of_every_kind(crd: dict) -> None:
    for version in crd["spec"]["versions"]:
        whole = version["schema"]["openAPIV3Schema"]
        assert len(whole["description"]) > 20
        for path, node in nodes(whole):
            for name, part in node.get("properties", {}).items():
                # What Kubernetes describes itself, a CRD may not describe.
                assert f"{path}.{name}" == ".metadata" or part.get("description"), f"{path}.{name}"


@by_crd
def test_every_column_of_every_kind_shows_a_field_that_exists(crd: dict) -> None:
    for version in crd["spec"]["versions"]:
        for column in version["additionalPrinterColumns"]:
            part = version["schema"]["openAPIV3Schema"]
            bare = re.sub(r"\[\?\(@\.type==['\"]\w+['\"]\)\]", "", column["jsonPath"])
            for name in bare.strip(".").split("."):
                if name == "metadata":
                    break  # Of every object.
                part = part["properties"][name]
                part = part.get("items", part)
            assert column["description"]


def test_every_rule_reports_what_to_do(schema: dict) -> None:
    messages = [
        rule["message"]
        for _, node in nodes(schema)
        for rule in node.get("x-kubernetes-validations", [])
    ]

    assert len(messages) > 40
    assert all(len(message) >= 40 for message in messages)


def test_everything_that_a_rule_walks_through_has_a_bound(schema: dict) -> None:
    """Kubernetes refuses the whole CRD when a rule could cost too much."""
    ruled = [(path, node) for path, node in nodes(schema) if "x-kubernetes-validations" in node]
    maps = [(path, node) for path, node in ruled if "additionalProperties" in node]
    texts = [(path, node) for path, node in ruled if node.get("type") == "string"]
    lists = [
        (path, node)
        for path, node in nodes(schema)
        if node.get("type") == "array" and any(one.startswith(f"{path}[]") for one, _ in ruled)
    ]

    assert maps
    assert texts
    assert lists
    assert not [path for path, node in maps if "maxProperties" not in node]
    assert not [path for path, node in texts if "maxLength" not in node]
    assert not [path for path, node in lists if "maxItems" not in node]


def test_what_rules_say_in_words_no_pattern_says_before(schema: dict) -> None:
    reported = [node for _, node in nodes(schema) if "x-kubernetes-validations" in node]

    assert not [node for node in reported if "pattern" in node]
    size = schema["properties"]["spec"]["properties"]["storage"]["properties"]["size"]
    assert size["x-kubernetes-validations"][0]["message"].startswith("write an amount of bytes")
    assert "pattern" in values_schema()["properties"]["storage"]["properties"]["size"]


def test_rules_hold_no_backslash_that_cel_would_take_for_its_own(schema: dict) -> None:
    for path, node in nodes(schema):
        for rule in node.get("x-kubernetes-validations", []):
            assert "\\" not in rule["rule"], path


def test_the_status_is_never_filled_in_by_the_api_server(schema: dict) -> None:
    assert not [
        path for path, node in nodes(schema["properties"]["status"], "status") if "default" in node
    ]


def test_conditions_merge_by_type(schema: dict) -> None:
    conditions = schema["properties"]["status"]["properties"]["conditions"]

    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert conditions["items"]["required"] == ["type"]


@pytest.mark.slow
def test_defaults_satisfy_their_own_schema(schema: dict) -> None:
    for path, node in nodes(schema):
        if "default" in node:
            jsonschema.validate(node["default"], node)
        assert node.get("default", 0) is not None, path


def cron_field(low: int, high: int, *names: str) -> st.SearchStrategy[str]:
    one = st.one_of(st.integers(low, high).map(str), *([st.sampled_from(names)] if names else []))
    span = st.one_of(st.just("*"), one, st.tuples(one, one).map("-".join))
    step = st.tuples(span, st.integers(1, 99).map(str)).map("/".join)
    return st.lists(st.one_of(span, step), min_size=1, max_size=3).map(",".join)


CRON = st.tuples(
    cron_field(0, 59),
    cron_field(0, 23),
    st.one_of(cron_field(1, 31), st.just("L")),
    cron_field(1, 12, "jan", "DEC"),
    st.one_of(cron_field(0, 7, "mon", "SUN"), st.sampled_from(["fri#2", "L5"])),
).map(" ".join)


@pytest.mark.slow
@given(CRON)
def test_the_crd_takes_every_schedule_and_the_operator_understands_it(schedule: str) -> None:
    assert re.search(SCHEDULE_PATTERN, schedule)
    assert croniter(schedule)


@pytest.mark.parametrize(
    "schedule",
    ["61 25 * * *", "* * *", "@daily", "0 0 0 1 *", "0 24 * * *", "0 3 * * 8", "R 3 * * *"],
)
def test_what_is_no_schedule_the_crd_refuses(schedule: str) -> None:
    assert re.search(SCHEDULE_PATTERN, schedule) is None


@pytest.mark.parametrize(
    "values",
    [
        {"podLabels": {"team": "my team"}},
        {"backup": {"destination": "s3://backups/a", "schedule": "61 25 * * *"}},
        {"bootstrap": {"restoreFrom": "nonsense"}},
        {"scheduling": {"affinity": {"nodeAfinity": {}}}},
        {"scheduling": {"topologySpreadConstraints": [{"maxSkew": 0}]}},
    ],
)
def test_helm_refuses_it_too(values: dict) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(values_schema()).validate(
            {"image": {"repository": "a"}} | values
        )


@pytest.mark.slow
def test_helm_lets_through_what_kubernetes_may_add(schema: dict) -> None:
    term = {"topologyKey": "zone", "matchLabelKeys": ["a"]}
    anti = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    spec = {"scheduling": {"affinity": {"podAntiAffinity": anti}}}

    jsonschema.Draft7Validator(values_schema()).validate({"image": {"repository": "a"}} | spec)
    jsonschema.validate({"image": "a"} | spec, schema["properties"]["spec"])
