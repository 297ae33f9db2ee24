"""What pyproject.toml lists for each package is what its modules import, and nothing else."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOLDERS = {
    "": "client/amaters",
    "server": "server/amaters_server",
    "operator": "operator/amaters_operator",
    "kubectl": "operator/amaters_kubectl",
}
"""The packages, by the extra that lists what they need; the client's is the base."""
OWN = {"amaters", "amaters-server", "amaters-operator", "amaters-kubectl"}
SHARED = {"google": ["protobuf"], "opentelemetry": ["opentelemetry-sdk"]}
"""Top-level modules that several distributions add to; which one is meant."""
PART_OF = {"pydantic-core": "pydantic", "botocore": "boto3", "mypy-boto3-s3": "boto3"}
"""Distributions that another one brings along, or that are imported for type checkers alone."""
NOT_IMPORTED = {"python-dateutil"}
"""Listed to bound the version of what others bring along."""
FOR_BOTH_EXTRAS = {"cryptography"}
"""What one module of the client imports, which only server and operator use."""


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def listed(extra: str) -> set[str]:
    texts = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    return {normalized(re.match(r"[\w.-]+", text)[0]) for text in texts}


def modules(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (one.name for one in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module or ""


def imported(folder: Path) -> set[str]:
    """The distributions that a package imports, whether at once or when it needs them."""
    distributions = {**packages_distributions(), **SHARED}
    tops = {name.partition(".")[0] for name in modules(folder)} - sys.stdlib_module_names
    found = {normalized(one) for top in tops for one in distributions.get(top, [top])}
    return {PART_OF.get(one, one) for one in found} - OWN


@pytest.mark.parametrize(("extra", "folder"), FOLDERS.items())
def test_what_a_package_imports_is_listed(extra: str, folder: str):
    known = listed("") | (listed(extra) if extra else FOR_BOTH_EXTRAS)

    assert imported(ROOT / folder) - known - listed("otel") == set()


@pytest.mark.parametrize(("extra", "folder"), FOLDERS.items())
def test_what_is_listed_for_a_package_is_imported(extra: str, folder: str):
    assert listed(extra) - imported(ROOT / folder) - NOT_IMPORTED == set()


def test_what_is_listed_for_traces_is_behind_its_doors():
    doors = {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS.values()
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"^ *(from|import) opentelemetry", path.read_text(), re.MULTILINE)
    }

    assert doors == {
        "client/amaters/tracing.py",
        "server/amaters_server/telemetry/tracing/otel.py",
    }
    assert listed("otel") == {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"}


@pytest.mark.parametrize("extra", ["server", "operator"])
def test_each_extra_lists_what_the_client_imports_only_for_them(extra: str):
    assert listed(extra) >= FOR_BOTH_EXTRAS
