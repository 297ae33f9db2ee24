"""The shape of the packages: imports form no circle, and no folder holds too many modules."""

import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "amaters": "client",
    "amaters_server": "server",
    "amaters_operator": "operator",
    "amaters_kubectl": "operator",
}
MOST_MODULES = 14
GENERATED = "wire"


def circle(package: str) -> list[str]:
    """Return the modules of one import circle, or nothing.

    An import for type checkers only, or inside a function, counts like any other.
    """
    graph = grimp.build_graph(package, exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as found:
        return list(found.args[1])
    return []


def crowded(folder: Path) -> dict[str, int]:
    """Return the folders, relative to this one's parent, with more modules than may be."""
    modules = [path for path in folder.rglob("*.py") if path.name != "__init__.py"]
    counts = Counter(
        str(path.parent.relative_to(folder.parent))
        for path in modules
        if GENERATED not in path.relative_to(folder).parts
    )
    return {name: count for name, count in sorted(counts.items()) if count > MOST_MODULES}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_form_no_circle(package: str):
    assert not circle(package)


def test_no_folder_holds_more_modules_than_a_reader_can_keep_in_mind():
    found = {
        f"{parent}/{name}": count
        for package, parent in PACKAGES.items()
        for name, count in crowded(ROOT / parent / package).items()
    }

    assert not found, f"at most {MOST_MODULES} modules in a folder: split these"


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of two modules, in which `second` imports `first`."""
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "made_up"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").touch()
    (package / "second.py").write_text("from made_up import first\n")
    yield package
    assert "made_up" not in sys.modules


def test_a_package_without_a_circle_passes(made_up: Path):
    assert circle(made_up.name) == []


@pytest.mark.parametrize(
    "back",
    [
        "import made_up.second\n",
        "from made_up.second import something\n",
        "def later():\n    from made_up import second\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made_up import second\n",
    ],
    ids=["import", "from", "in a function", "for type checkers"],
)
def test_a_circle_is_found(made_up: Path, back: str):
    (made_up / "first.py").write_text(back)

    assert set(circle(made_up.name)) == {"made_up.first", "made_up.second"}


def test_a_circle_through_a_package_is_found(made_up: Path):
    (made_up / "__init__.py").write_text("from made_up.second import something\n")
    (made_up / "first.py").write_text("import made_up\n")

    assert set(circle(made_up.name)) == {"made_up", "made_up.first", "made_up.second"}


def test_a_folder_with_one_module_too_many_is_found(made_up: Path):
    inner = made_up / "inner"
    inner.mkdir()
    (inner / "__init__.py").touch()
    for number in range(MOST_MODULES):
        (inner / f"module_{number}.py").touch()
    assert crowded(made_up) == {}

    (inner / "one_more.py").touch()

    assert crowded(made_up) == {"made_up/inner": MOST_MODULES + 1}


def test_generated_modules_do_not_count(made_up: Path):
    generated = made_up / GENERATED / "v1"
    generated.mkdir(parents=True)
    for number in range(MOST_MODULES + 1):
        (generated / f"module_{number}_pb2.py").touch()

    assert crowded(made_up) == {}
