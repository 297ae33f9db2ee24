"""What the release before wrote stays valid and keeps its meaning: objects, charts, and the CRD.

`golden/previous-crd.yaml` and `golden/previous-objects.yaml` are of that release. Replace both when
another one is made.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from amaters_operator.api.cluster import AmatersCluster

from tools.generate.crd import cluster_crd

GOLDEN = Path(__file__).parent / "golden"
PREVIOUS = yaml.safe_load((GOLDEN / "previous-crd.yaml").read_text())
OBJECTS = list(yaml.safe_load_all((GOLDEN / "previous-objects.yaml").read_text()))
LOWER = ("minimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")

by_name = pytest.mark.parametrize("old", OBJECTS, ids=lambda one: one["metadata"]["name"])


def schema_of(crd: dict) -> dict:
    [version] = crd["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def parts(schema: dict, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from parts(schema[inner], f"{path}[]")


BEFORE = dict(parts(schema_of(PREVIOUS)))
NOW = dict(parts(schema_of(cluster_crd())))


def narrowed(old: dict, new: dict) -> list[str]:
    """Return what the new schema refuses that the old one accepted, as far as schemas show it."""
    found = [f"is {new.get('type')}"] if old.get("type") != new.get("type") else []
    if missing := set(old.get("enum", [])) - set(new.get("enum", old.get("enum", []))):
        found.append(f"refuses {sorted(missing)}")
    if "enum" in new and "enum" not in old:
        found.append("takes a few values only")
    if demanded := set(new.get("required", [])) - set(old.get("required", [])):
        found.append(f"demands {sorted(demanded)}")
    found += [one for one in LOWER if new.get(one, float("-inf")) > old.get(one, float("-inf"))]
    found += [one for one in UPPER if new.get(one, float("inf")) < old.get(one, float("inf"))]
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        found.append("has another pattern")
    return found


def test_no_field_is_gone() -> None:
    """Kubernetes would silently drop it from every object that has it."""
    assert sorted(BEFORE.keys() - NOW.keys()) == []


def test_no_field_accepts_less_than_before() -> None:
    found = {path: narrowed(old, NOW[path]) for path, old in BEFORE.items() if path in NOW}

    assert {path: what for path, what in found.items() if what} == {}


def test_no_default_changes_what_an_object_means() -> None:
    changed = {
        path: (old["default"], NOW[path].get("default"))
        for path, old in BEFORE.items()
        if path in NOW and "default" in old and not isinstance(old["default"], dict)
        if NOW[path].get("default") != old["default"]
    }

    assert changed == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "string"}, "is string"),
        ({"maximum": 7}, "maximum"),
        ({"minimum": 2}, "minimum"),
        ({"enum": [3]}, "takes a few values only"),
        ({"required": ["a"]}, "demands ['a']"),
    ],
)
def test_the_comparison_finds_what_it_must_find(change: dict, said: str) -> None:
    replicas = BEFORE[".spec.replicas"]

    assert said in narrowed(replicas, replicas | change)
    assert narrowed(replicas, replicas | {"maximum": 99, "description": "new"}) == []


@pytest.mark.slow
@by_name
def test_an_object_of_the_release_before_is_valid(old: dict) -> None:
    jsonschema.validate(old, schema_of(cluster_crd()))


@by_name
def test_the_operator_reads_it_as_it_was_written(old: dict) -> None:
    raw = old | {"metadata": old["metadata"] | {"uid": "u"}}
    cluster = AmatersCluster.model_validate(raw)

    written = cluster.spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    kept = cluster.status.model_dump(by_alias=True, mode="json", exclude_none=True)
    assert lost(old["spec"], written) == []
    assert lost(old["status"], kept) == []


def lost(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the fields of the old one that the new one has not, or has otherwise."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            one for key, part in old.items() for one in lost(part, new.get(key), f"{path}.{key}")
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = zip(old, new, strict=True)
        return [one for at, each in enumerate(pairs) for one in lost(*each, f"{path}[{at}]")]
    return [] if old == new else [f"{path}: {old!r} became {new!r}"]
