"""What is generated is checked in, and is what the generators make today."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "client/amaters",
    "server/amaters_server",
    "operator/amaters_operator",
    "operator/amaters_kubectl",
)


def load(tool: str):
    spec = importlib.util.spec_from_file_location(tool, ROOT / "tools" / f"{tool}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_protobuf_stubs_are_fresh(tmp_path: Path):
    load("protobuf").generate(tmp_path)

    made = [path.relative_to(tmp_path) for path in tmp_path.rglob("*_pb2*") if path.is_file()]
    assert len(made) >= 14
    stale = [
        str(path) for path in made if (tmp_path / path).read_bytes() != (ROOT / path).read_bytes()
    ]
    assert not stale, f"run `make proto`: {stale}"


def test_every_program_the_makefile_runs_exists():
    recipes = (ROOT / "Makefile").read_text()
    # What lies in .cache is another commit's, checked out by the recipe itself.
    scripts = re.findall(r"python (?!\.cache/)(\S+\.py)", recipes)
    modules = [name for name in re.findall(r"python -m (\w[\w.]*)", recipes) if name != "pip"]

    assert scripts
    assert modules
    assert not [one for one in scripts if not (ROOT / one).is_file()]
    assert not [one for one in modules if importlib.util.find_spec(one) is None]


def test_the_distribution_never_shadows_the_standard_operator_module():
    assert not (ROOT / "operator" / "__init__.py").exists()
    packages = {path.parent.relative_to(ROOT) for path in (ROOT / "tests").rglob("__init__.py")}
    assert packages == {Path("tests/testbed"), Path("tests/faultbed")}, "pytest collects no package"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_outgrows_a_sitting(package: str):
    sources = [path for path in (ROOT / package).rglob("*.py") if "_pb2" not in path.name]

    outgrown = {
        str(path.relative_to(ROOT)): lines
        for path in sources
        if (lines := len(path.read_text().splitlines())) > 400
    }

    assert not outgrown, f"split these by meaning: {outgrown}"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_named_for_nothing(package: str):
    banned = {"utils", "helpers", "common", "misc", "manager", "base"}

    assert not [path for path in (ROOT / package).rglob("*.py") if path.stem in banned]
