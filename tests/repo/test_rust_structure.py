"""The shape of the native code: imports form no circle, and no folder holds too many modules."""

import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "server" / "native" / "src"
PATH = re.compile(r"\b(crate::|(?:super::)+)(\w+(?:::\w+)*)")
INNER_BRACES = re.compile(r"([\w:]+::)\{([^{}]*)\}")
COMMENT = re.compile(r"//.*")
MOST_MODULES = 14


def imports(sources: Path) -> dict[str, set[str]]:
    """Return which module names which others, by `crate::` and `super::`, in tests too.

    A `mod.rs` joins its children; what it says about them is no import.
    """
    modules = {_name(path, sources): path for path in sources.rglob("*.rs")}
    modules.pop("lib", None)
    return {name: _named_by(name, path, set(modules)) for name, path in modules.items()}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of one circle, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as found:
        return list(found.args[1])
    return []


def crowded(sources: Path) -> dict[str, int]:
    """Return the folders with more modules than may be, beside `mod.rs`."""
    modules = [path for path in sources.rglob("*.rs") if path.name != "mod.rs"]
    counts = Counter(str(path.parent.relative_to(sources)) for path in modules)
    return {name: count for name, count in sorted(counts.items()) if count > MOST_MODULES}


def _name(path: Path, sources: Path) -> str:
    parts = path.relative_to(sources).with_suffix("").parts
    return "::".join(parts[:-1] if parts[-1] == "mod" else parts)


def _named_by(name: str, path: Path, modules: set[str]) -> set[str]:
    found = set()
    for start, rest in PATH.findall(_without_braces(COMMENT.sub("", path.read_text()))):
        base = [] if start == "crate::" else name.split("::")[: -start.count("super")]
        found.add(_longest([*base, *rest.split("::")], modules))
    return found - {name, ""}


def _without_braces(text: str) -> str:
    """Write `a::{b, c::{d, e}}` as `a::b, a::c::d, a::c::e`."""
    while (flat := INNER_BRACES.sub(_each_with_its_start, text)) != text:
        text = flat
    return text


def _each_with_its_start(braces: re.Match[str]) -> str:
    items = (item.strip() for item in braces[2].split(","))
    return ", ".join(braces[1] + item for item in items if item)


def _longest(path: list[str], modules: set[str]) -> str:
    """Return the module in which the item of this path lies."""
    prefixes = ("::".join(path[:end]) for end in range(len(path), 0, -1))
    return next((one for one in prefixes if one in modules), "")


def test_imports_form_no_circle():
    graph = imports(SOURCES)

    assert len(graph) > 30
    assert not circle(graph)


def test_no_folder_holds_more_modules_than_a_reader_can_keep_in_mind():
    assert not crowded(SOURCES), f"at most {MOST_MODULES} modules in a folder: split these"


def test_a_folder_with_too_many_modules_is_found(made_up: Path):
    for number in range(MOST_MODULES - 1):
        (made_up / "room" / f"other{number}.rs").write_text("")

    assert crowded(made_up) == {"room": MOST_MODULES + 1}


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """Modules of which `room::second` imports `room::first`."""
    (tmp_path / "room").mkdir()
    (tmp_path / "lib.rs").write_text("mod room;\n")
    (tmp_path / "room" / "mod.rs").write_text("mod first;\nmod second;\n")
    (tmp_path / "room" / "first.rs").write_text("// use super::second::B; in a comment only\n")
    (tmp_path / "room" / "second.rs").write_text("use super::first::A;\n")
    return tmp_path


def test_modules_without_a_circle_pass(made_up: Path):
    assert imports(made_up)["room::second"] == {"room::first"}
    assert circle(imports(made_up)) == []


@pytest.mark.parametrize(
    "back",
    [
        "use super::second::B;",
        "use crate::room::second::B;",
        "use super::{third, second::B};",
        "use super::{\n    third,\n    second::{B, C},\n};",
        "use super::super::room::{second, third};",
        "use crate::room::{third, second::B};",
        "use crate::{room::{third, second::B}, other};",
        "fn f() -> super::second::B { todo!() }",
    ],
)
def test_a_circle_is_found(made_up: Path, back: str):
    (made_up / "room" / "first.rs").write_text(f"{back}\n")

    assert set(circle(imports(made_up))) == {"room::first", "room::second"}
