"""The operator reads no wall clock: times come from the API server, waiting is monotonic."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = ROOT / "operator" / "amaters_operator"
WALL_CLOCKS = {
    "now", "utcnow", "today", "time", "time_ns", "localtime", "gmtime", "ctime", "clock_gettime",
    "set_to_current_time",
}  # fmt: skip
OF_MODULES = {"datetime", "date", "time"}
DOORS: set[str] = set()
"""Modules that may read one: none. `kube/clock.py` computes it from the dates of answers."""


def readings(source: str) -> list[str]:
    """Return the expressions that read this machine's wall clock."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in WALL_CLOCKS:
            text = ast.unparse(node)
            owner = text.rpartition(".")[0].rpartition(".")[2]
            if owner in OF_MODULES or node.attr == "set_to_current_time":
                found.append(text)
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [f"time.{one.name}" for one in node.names if one.name in WALL_CLOCKS]
    return found


def modules() -> list[Path]:
    return [
        path
        for path in sorted(OPERATOR.rglob("*.py"))
        if "testing" not in path.relative_to(OPERATOR).parts
    ]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(OPERATOR)))
def test_a_module_reads_no_wall_clock(path: Path):
    allowed = str(path.relative_to(OPERATOR)) in DOORS

    assert allowed or readings(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import datetime\ndatetime.datetime.now()", ["datetime.datetime.now"]),
        ("from datetime import datetime\nmade = datetime.now(UTC)", ["datetime.now"]),
        ("default_factory = datetime.utcnow", ["datetime.utcnow"]),
        ("import time\ntime.time()", ["time.time"]),
        ("from time import time_ns", ["time.time_ns"]),
        ("gauge.set_to_current_time()", ["gauge.set_to_current_time"]),
        ("self._kube.now()\nkube.now()\nobserved.now", []),
        ("time.monotonic()\nloop.time()", []),
    ],
)
def test_what_counts(source: str, found: list[str]):
    assert readings(source) == found
