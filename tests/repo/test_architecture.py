"""The layer figure of the architecture shows the import contracts."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS = SETTINGS["contracts"]
LAYERS = {
    contract["containers"][0]: contract["layers"]
    for contract in CONTRACTS
    if contract["type"] == "layers"
}
PROGRAMS = {
    "amaters": "client",
    "amaters_server": "server",
    "amaters_operator": "operator",
    "amaters_kubectl": "kubectl",
}
"""Root packages and their names in the figure."""

FIGURE = next(
    figure
    for figure in re.findall(r"^```mermaid\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    if "subgraph server" in figure
)
BOX = re.compile(r'^  subgraph \w+\["([\w.]+)"\]\n(.*?)^  end$', re.MULTILINE | re.DOTALL)
LAYER = re.compile(r'(\w+)\["([^"]+)"\](?: --> (\w+))?')


def drawn() -> dict[str, list[tuple[str, str, str]]]:
    """Box by box: name, label and successor of each layer, from top to bottom."""
    return {title: LAYER.findall(inside) for title, inside in BOX.findall(FIGURE)}


def test_the_figure_has_a_box_for_every_contract_of_layers():
    assert list(drawn()) == list(LAYERS)


@pytest.mark.parametrize("package", LAYERS)
def test_a_box_shows_the_layers_of_its_contract(package: str):
    layers = drawn()[package]

    assert [label for _, label, _ in layers] == LAYERS[package]
    assert [below for _, _, below in layers] == [*(name for name, _, _ in layers[1:]), ""]


def test_no_arrow_between_programs_is_forbidden_by_a_contract():
    forbidden = {
        (PROGRAMS[source], PROGRAMS[target])
        for contract in CONTRACTS
        if contract["type"] == "forbidden"
        for source in contract["source_modules"]
        for target in contract["forbidden_modules"]
        if source in PROGRAMS and target in PROGRAMS
    }
    arrows = re.findall(r"^  (\w+) --> (\w+)$", FIGURE, re.MULTILINE)

    assert len(forbidden) >= 3
    assert sorted(arrows) == [("kubectl", "client"), ("operator", "client"), ("server", "client")]
    assert not forbidden & set(arrows)


def test_every_package_is_described():
    named = {
        module
        for package in ("amaters_server", "amaters_operator", "amaters_server.node")
        for line in LAYERS[package]
        for module in line.split(" | ")
        if (ROOT / PROGRAMS[package.split(".")[0]] / Path(*package.split(".")) / module).is_dir()
    }

    assert {name for name in named if f"{name}/" not in PAGE} == set()
