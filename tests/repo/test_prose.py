"""Documents are plain technical English in lines of 100 characters, and what they cite exists."""

import argparse
import functools
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {
    "docs/cli.md",
    "docs/reference/amatersaccess.md",
    "docs/reference/amaterscluster.md",
    "docs/reference/kubectl-amaters.md",
}
"""Their lines come from the programs; `make docs` writes them."""
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]

PRIVATE = {
    "tell": "report, name",
    "tells": "reports, names",
    "told": "reported, notified",
    "hear": "receive, learn",
    "hears": "receives",
    "heard": "received",
    "anew": "again",
    "wish": "desired state",
    "wishes": "desired state",
    "wished": "desired",
    "whoever": "name the role: the caller, the client, a user",
    "somebody": "name the role",
    "stand": "is, exists, applies",
    "stands": "is, exists, applies",
    "stood": "was",
    "standing": "is, open",
    "lest": "so that not",
}
"""Words that are not the field's, and what to write."""
WORD = re.compile(rf"\b({'|'.join(PRIVATE)})\b", re.IGNORECASE)
EXCEPTIONS: set[tuple[str, str]] = set()
"""(page, word) where the word is right, for example in a quotation."""

FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")
UNBREAKABLE = re.compile(r"^(?:\s*[-*] )?(?:\*\*\w+:\*\* )?(?:`[^`]+`|\S+)[,.:]?$")
"""One command or one address fills the line."""


def too_long(text: str) -> list[str]:
    """Lines of prose above 100 characters; tables, code blocks and single commands are none."""
    return [
        line
        for line in FENCE.sub("", text).splitlines()
        if len(line) > 100 and not line.startswith("|") and not UNBREAKABLE.match(line)
    ]


def private(page: str, text: str) -> list[str]:
    words = WORD.findall(CODE.sub("", FENCE.sub("", text)))
    return [word for word in words if (page, word.lower()) not in EXCEPTIONS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_plain_english_in_short_lines(page: Path):
    name, text = str(page.relative_to(ROOT)), page.read_text()

    assert name in GENERATED or too_long(text) == []
    assert {word: PRIVATE[word.lower()] for word in private(name, text)} == {}


@pytest.mark.parametrize(
    ("text", "long", "words"),
    [
        ("The node tells the leader.", 0, ["tells"]),
        ("`a test that tells` and understands", 0, []),
        ("word " * 30, 1, []),
        ("| " + "cell " * 30 + "|", 0, []),
        ("- **Test:** `" + "x " * 60 + "`,", 0, []),
        ("```\n" + "stands " * 30 + "\n```", 0, []),
    ],
)
def test_what_counts(text: str, long: int, words: list[str]):
    assert len(too_long(text)) == long
    assert private("page", text) == words


INCIDENTS = ROOT / "docs" / "incidents.md"
PYTEST = re.compile(r"`pytest ([^`\n]+)`")


def missing(command: str) -> list[str]:
    """Paths without a file and words of `-k` without a test of such a name below those paths."""
    options = argparse.ArgumentParser()
    options.add_argument("paths", nargs="*")
    options.add_argument("-k", default="")
    options.add_argument("-m")
    asked = options.parse_args(shlex.split(command))
    gone = [path for path in asked.paths if not (ROOT / path).exists()]
    names = "\n".join(named(path) for path in asked.paths if path not in gone)
    return gone + [
        word for word in re.findall(r"\b(?!or\b|and\b)\w+", asked.k.lower()) if word not in names
    ]


@functools.cache
def named(path: str) -> str:
    """Names of files, and the text of tests: parameters are part of a test's name too."""
    place = ROOT / path
    files = [place] if place.is_file() else place.rglob("*.py")
    return "\n".join(f"{file.relative_to(ROOT)}\n{file.read_text()}" for file in files).lower()


def test_every_incident_cites_tests_that_exist():
    text = INCIDENTS.read_text()
    found = {command: gone for command in PYTEST.findall(text) if (gone := missing(command))}

    assert len(PYTEST.findall(text)) > 100
    assert found == {}


def test_a_test_that_does_not_exist_is_found():
    assert missing('tests/repo -k "exist or no_such' + '_test"') == ["no_such" + "_test"]
    assert missing("tests/nowhere") == ["tests/nowhere"]


def test_every_incident_has_its_parts():
    entries = re.split(r"^### ", INCIDENTS.read_text(), flags=re.MULTILINE)[1:]

    assert len(entries) > 100
    assert [
        entry.splitlines()[0]
        for entry in entries
        if not all(f"- **{part}:**" in entry for part in ("Cause", "Test"))
    ] == []


MODULE = re.compile(r"`((?:[\w-]+/)*\w+\.(?:py|rs))`")
WRITTEN = [page for page in PAGES if page.name != "CHANGELOG.md"]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_module_that_a_page_names_exists(page: Path):
    assert [name for name in MODULE.findall(page.read_text()) if name not in modules()] == []


@functools.cache
def modules() -> set[str]:
    """Every module by each end of its path: `storage/swap.py` as well as `swap.py`."""
    folders = ("client", "server", "operator", "tests", "tools", "bench", "demo")
    files = [
        file.relative_to(ROOT).parts
        for folder in folders
        for end in ("*.py", "*.rs")
        for file in (ROOT / folder).rglob(end)
        if "target" not in file.parts
    ]
    return {"/".join(parts[first:]) for parts in files for first in range(len(parts))}
