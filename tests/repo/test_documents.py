"""What the documents point at exists."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
COMMAND = re.compile(r"^make ([a-z0-9-]+)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path):
    broken = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]

    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_command_shown_exists(page: Path):
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(COMMAND.findall(page.read_text())) <= targets


def test_every_decision_is_one_page():
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))

    assert len(records) >= 6
    for record in records:
        text = record.read_text()
        assert all(part in text for part in ("**Context.**", "**Decision.**", "**Consequences.**"))
        assert len(text.splitlines()) < 60


def test_every_fault_in_the_table_has_a_test_of_that_name():
    names = re.findall(
        r"\| `([a-z_]+)` \|$", (ROOT / "docs" / "testing.md").read_text(), re.MULTILINE
    )
    files = [*(ROOT / "tests/faults").glob("test_*.py"), *(ROOT / "tests/e2e").glob("test_*.py")]
    found = {path.stem for path in files}
    for path in files:
        found.update(re.findall(r"def (test_\w+)", path.read_text()))

    assert len(names) > 23
    assert [name for name in names if not any(name in one for one in found)] == []


RUN = re.compile(r"python -m ([a-z_]+(?:\.[a-z_]+)*)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_program_shown_exists(page: Path):
    names = set(RUN.findall(page.read_text()))

    assert [name for name in names if importlib.util.find_spec(name) is None] == []
