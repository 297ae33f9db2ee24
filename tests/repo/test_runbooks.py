"""Runbooks have one form, and every name in them is a name of the programs or of the CRD."""

import functools
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "operations"
PAGES = sorted(FOLDER.glob("*.md"))
PARTS = ("Symptom", "Cause", "Check", "What to do", "Verify")
REFERENCE = {
    "README.md",
    "access.md",
    "air-gap.md",
    "alerts.md",
    "failures.md",
    "holding.md",
    "import-and-export.md",
    "leadership.md",
    "migrate-from-amaters.md",
    "networks.md",
    "observability.md",
    "openshift.md",
    "sizing.md",
    "tasks.md",
    "upgrade-the-operator.md",
    "verification.md",
    "volumes.md",
}
"""Pages that describe something instead of mending it."""
INLINE = re.compile(r"`([^`\n]+)`")
METRIC = re.compile(r"\bamaters_[a-z_]+\b")
FIELD = re.compile(r"^(?:spec|status)(?:\.\w+)+")
JSONPATH = re.compile(r"\{\.((?:spec|status)[\w.]*)")
DOTTED = re.compile(r"[a-z_0-9]+(?:\.[a-z_0-9]+)+")
CAMEL = re.compile(r"(?:[A-Z][a-z]+){2,}")
SELECTED = re.compile(r"(?:-l|--selector) ([\w./-]+)=")
FILES = {
    "meta.bin",
    "manifest.bin",
    "db.durable",
    "db.wal",
    "format.json",
    "ca.crt",
    "tls.crt",
    "tls.key",
}

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in REFERENCE], ids=lambda page: page.stem
)
def test_a_runbook_leads_from_the_symptom_to_its_end(page: Path):
    text = page.read_text()
    places = [re.search(rf"^(?:## |\*\*){part}", text, re.MULTILINE) for part in PARTS]

    assert None not in places
    starts = [place.start() for place in places if place]
    assert starts == sorted(starts)


def test_every_page_is_listed():
    index = (FOLDER / "README.md").read_text()

    assert [page.name for page in PAGES if f"({page.name})" not in index] == ["README.md"]


@by_page
def test_every_name_of_a_page_exists(page: Path):
    assert unknown(page.read_text()) == []


def unknown(text: str) -> list[str]:
    """Metrics, fields, settings, log events, conditions and reasons that nothing else names."""
    names = [name.split("=")[0] for name in INLINE.findall(text)]
    fields = [*JSONPATH.findall(text), *(one[0] for name in names if (one := FIELD.match(name)))]
    named = [name for name in names if DOTTED.fullmatch(name) or CAMEL.fullmatch(name)]
    return [
        *(metric for metric in METRIC.findall(text) if not is_metric(metric)),
        *(field for field in fields if not is_field(field)),
        *(
            name
            for name in named
            if not FIELD.match(name) and name not in FILES and not is_named(name)
        ),
    ]


def is_metric(name: str) -> bool:
    """Families are declared with or without the prefix of their subsystem, and without `_total`."""
    short = name.removeprefix("amaters_").removesuffix("_total")
    return any(f'{part}"' in sources() or f"{part}_total" in sources() for part in tails(short))


def tails(name: str) -> list[str]:
    words = name.split("_")
    return ["_".join(words[first:]) for first in range(min(2, len(words)))]


def is_field(path: str) -> bool:
    return any(is_field_of(one, path) for one in schemas())


def is_field_of(at: dict, path: str) -> bool:
    for name in path.split("."):
        at = at.get("items", at)
        if name not in at.get("properties", {}):
            return "additionalProperties" in at or "x-kubernetes-preserve-unknown-fields" in at
        at = at["properties"][name]
    return True


def is_named(name: str) -> bool:
    settings = (ROOT / "docs" / "configuration.md").read_text()
    is_setting = "." in name and all(part in settings for part in name.split("."))
    return is_setting or name in sources()


@by_page
def test_every_selected_label_is_one_of_the_objects(page: Path):
    golden = (ROOT / "tests" / "operator" / "golden" / "full.yaml").read_text()

    assert [
        label for label in SELECTED.findall(page.read_text()) if f"{label}:" not in golden
    ] == []


@functools.cache
def sources() -> str:
    folders = ("server/amaters_server", "server/native", "operator/amaters_operator", "client")
    files = [
        file
        for folder in folders
        for end in ("*.py", "*.rs")
        for file in (ROOT / folder).rglob(end)
        if "target" not in file.parts and "_pb2" not in file.name
    ]
    return "\n".join(file.read_text() for file in files)


@functools.cache
def schemas() -> list[dict]:
    definitions = [yaml.safe_load(one.read_text()) for one in (ROOT / "crds").glob("*.yaml")]
    versions = [version for one in definitions for version in one["spec"]["versions"]]
    return [version["schema"]["openAPIV3Schema"] for version in versions]


@pytest.mark.parametrize(
    "name",
    [
        "`spec.imagee`",
        "{.status.member}",
        "`amaters_network_no_such_total`",
        "`client.turned_away_no`",
        "`StalledForEver`",
    ],
)
def test_a_name_that_does_not_exist_is_found(name: str):
    assert len(unknown(name)) == 1
