"""Every key of the reference is used by the program, refused, or named in a notice."""

import ast
import re
from functools import cache
from pathlib import Path

import amaters_server
import pytest
import tomli_w
from amaters_server.config.load import Sources, load
from amaters_server.config.protection import IGNORED

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = Path(amaters_server.__file__).parent

OTHER_THAN_DEFAULT: dict[str, object] = {
    "storage.wal.segment_size_mb": 64,
    "timeouts.idle_connection_timeout_ms": 70_000,
}


def current() -> list[str]:
    """Return the keys of the page without the tables of the older names."""
    page = (ROOT / "docs/configuration.md").read_text().partition("## Environment variables")[0]
    return re.findall(r"^\| `([a-z0-9_.]+)` \|", page, re.MULTILINE)


FAULTS = ("authentication.py", "authorization.py")
"""They refuse what cannot take effect, such as `authz.policies_file`."""


@cache
def read_by_the_program() -> frozenset[str]:
    """Return the attributes that code outside of the sections reads."""
    sources = [
        *(PACKAGE / "app").rglob("*.py"),
        *(PACKAGE / "access").glob("*.py"),
        *(PACKAGE / "identity").glob("*.py"),
        *(PACKAGE / "config" / name for name in ("cluster.py", "settings.py", *FAULTS)),
    ]
    return frozenset(
        node.attr
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Attribute)
    )


@pytest.mark.parametrize("key", current())
def test_a_key_is_used_or_refused_or_named(key):
    assert key in IGNORED or key.rpartition(".")[2] in read_by_the_program()


@pytest.mark.parametrize("key", IGNORED)
def test_a_key_without_effect_is_named_once(tmp_path, key):
    table, _, name = key.rpartition(".")
    path = tmp_path / "c.toml"
    path.write_text(f"[{table}]\n" + tomli_w.dumps({name: OTHER_THAN_DEFAULT.get(key, 5)}))

    assert load(Sources(path=path)).notices == (f"{key} has no effect yet: {IGNORED[key]}",)
