"""docs/configuration.md says what the sections say; every key is described."""

import re
import subprocess
import sys
from pathlib import Path

from amaters_server.config.keys import section_of
from amaters_server.config.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_what_the_sections_say():
    checked = subprocess.run(
        [sys.executable, "tools/configuration_reference.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr


def keys(section=Settings, prefix=""):
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if inner is None:
            yield prefix + name, field
        else:
            yield from keys(inner, f"{prefix}{name}.")


def test_every_key_is_described():
    assert [key for key, field in keys() if not field.description] == []


def test_every_key_that_an_operations_page_names_is_one():
    known = {key for key, _ in keys()}
    sections = {key.partition(".")[0] for key in known}
    pages = (ROOT / "docs" / "operations").glob("*.md")

    named = {
        name
        for page in pages
        for name in re.findall(r"`([a-z_]+\.[a-z0-9_.]+)`", page.read_text())
        if name.partition(".")[0] in sections
    }

    events = {
        name
        for module in (ROOT / "server" / "amaters_server").rglob("*.py")
        for name in re.findall(r'log\.\w+\(\s*"([a-z_.]+)"', module.read_text())
    }

    assert "alerts.node_failed_after_ms" in named
    assert named - known - events == set()
