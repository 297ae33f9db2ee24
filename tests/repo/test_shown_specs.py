"""Every AmatersCluster, or part of its spec, that a document shows is one that the CRD accepts."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from amaters_operator.api.cluster import AmatersCluster

from tools.generate.chart import values_schema

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
FENCED = re.compile(r"^ *```yaml\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
KIND = "AmatersCluster"


def specs(page: Path) -> list[dict[str, Any]]:
    """Return the specs of whole clusters, and of blocks that are `spec:` alone."""
    blocks = (
        one
        for block in FENCED.findall(page.read_text())
        for one in yaml.safe_load_all(block.replace("sha256:...", "sha256:" + "0a" * 32))
        if isinstance(one, dict)
    )
    return [one["spec"] for one in blocks if one.get("kind") == KIND or one.keys() == {"spec"}]


SHOWN = [(page, spec) for page in PAGES for spec in specs(page)]


def test_some_are_shown():
    assert len(SHOWN) > 5


@pytest.mark.parametrize(
    ("page", "spec"), SHOWN, ids=[str(page.relative_to(ROOT)) for page, _ in SHOWN]
)
def test_a_spec_that_is_shown_is_accepted(page: Path, spec: dict[str, Any]):
    """By the chart's schema, which refuses fields that do not exist, and by the operator."""
    values = {name: part for name, part in spec.items() if name not in ("image", "imagePullPolicy")}
    jsonschema.Draft7Validator(values_schema()).validate(values | {"image": {"repository": "a"}})

    AmatersCluster.model_validate(
        {
            "metadata": {"name": "orders", "namespace": "shop", "uid": "u"},
            "spec": {"image": "a:1"} | spec,
        }
    )
