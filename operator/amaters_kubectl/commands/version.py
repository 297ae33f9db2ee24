"""`kubectl amaters version`: plugin, operators, CRDs, and whether they fit."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import click

from amaters_kubectl import call as calls
from amaters_kubectl import names
from amaters_kubectl.call import Call
from amaters_kubectl.documented import Documented
from amaters_kubectl.errors import PluginError
from amaters_kubectl.program import __version__
from amaters_kubectl.reading import Fields, part, parts, text
from amaters_kubectl.screens.lines import Styled, labelled


@dataclass(frozen=True, slots=True)
class Versions:
    """What runs where."""

    plugin: str
    operators: Mapping[str, str]
    """Version by namespace/deployment."""
    crd: tuple[str, ...]
    notes: tuple[str, ...]
    """What could not be read, and why."""


@click.command(
    "version",
    cls=Documented,
    short_help="Show the versions of plugin, operators and CRDs.",
    examples=("kubectl amaters version",),
)
@click.option("--client", is_flag=True, help="Of the plugin alone; asks no API server.")
@calls.connection
@calls.formats
@calls.pass_call
def version(call: Call, *, client: bool) -> None:
    """Show the versions of the plugin, of the operators, and of the installed CRDs."""
    found = Versions(__version__, {}, (), ()) if client else _read(call)
    if call.format:
        facts = {"plugin": found.plugin, "operators": dict(found.operators), "crd": [*found.crd]}
        call.value(facts | {"notes": [*found.notes]})
    else:
        call.show(version_screen(found, client=client, columns=call.columns))


def version_screen(found: Versions, *, client: bool, columns: int) -> list[Styled]:
    """Return the lines. Pure."""
    lines = labelled("Plugin", found.plugin, columns)
    if client:
        return lines
    for place, said in found.operators.items():
        lines += labelled("Operator", f"{said} ({place})", columns)
    lines += labelled("CRD", ", ".join(found.crd) or "not known", columns)
    for one in found.notes:
        lines += labelled("Note", one, columns)
    others = sorted({one for one in found.operators.values() if one != found.plugin})
    if others:
        said = (
            f"operator {', '.join(others)} and plugin {found.plugin} differ: use the same version"
        )
        lines += labelled("Next", said, columns)
    return lines


def _read(call: Call) -> Versions:
    notes: list[str] = []
    operators = {}
    for one in _deployments(call, notes):
        place = part(one, "metadata")
        operators[f"{text(place, 'namespace')}/{text(place, 'name')}"] = operator_version(one)
    if not operators and not notes:
        notes.append("no operator was found: is it installed?")
    crd: tuple[str, ...] = ()
    try:
        definition = call.kubectl.get("customresourcedefinitions", names.CLUSTERS)
        served = [one for one in parts(part(definition, "spec"), "versions") if one.get("served")]
        crd = tuple(text(one, "name") for one in served)
    except PluginError as error:
        notes.append(f"the CRDs cannot be read: {error}")
    return Versions(__version__, operators, crd, tuple(notes))


def _deployments(call: Call, notes: list[str]) -> list[Fields]:
    """Return the operators of all namespaces, or at least those of this one."""
    try:
        return call.kubectl.items("deployments", selector=names.OPERATOR_LABEL, everywhere=True)
    except PluginError as error:
        notes.append(f"only this namespace was searched for operators: {error}")
    try:
        return call.kubectl.items("deployments", selector=names.OPERATOR_LABEL)
    except PluginError as error:
        notes[:] = [f"operators cannot be read: {error}"]
        return []


def operator_version(deployment: Fields) -> str:
    """Return the version of an operator: of its image, else of its chart."""
    containers = parts(part(deployment, "spec", "template", "spec"), "containers")
    image = text(containers[0], "image") if containers else ""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    label = text(part(deployment, "metadata", "labels"), "app.kubernetes.io/version")
    return tag if re.match(r"v?\d+\.", tag) else label or tag or "not known"
