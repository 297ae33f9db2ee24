"""What kubectl answers, and what members log, may be anything: an error or a line, never a crash."""

import contextlib
import json
import runpy
from pathlib import Path

import pytest
from amaters_kubectl import names as ours
from amaters_kubectl.cluster.log_lines import LEVELS, merged, parsed, readable
from amaters_kubectl.errors import PluginError
from amaters_kubectl.kubectl import Kubectl, failure
from amaters_kubectl.program import COMMANDS, cli
from amaters_operator.api.cluster import APPROVE_ANNOTATION, GROUP, KIND, PLURAL, RESTART_ANNOTATION
from amaters_operator.manifests.names import (
    CLUSTER_LABEL,
    RESTART_TOKEN_ANNOTATION,
    UNDELETE_ANNOTATION,
)
from amaters_operator.manifests.pod_template import CONTAINER
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]


@given(st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_an_answer_of_kubectl_is_an_object_or_an_error(answer: str):
    class Canned(Kubectl):
        def run(self, *_arguments: str, bounded: bool = True) -> str:
            return answer

    with contextlib.suppress(PluginError):
        assert isinstance(Canned().get("pods", "x"), dict)


@given(st.text())
def test_any_words_of_kubectl_become_an_error(words: str):
    error = failure(words)

    assert error.code
    assert len(str(error)) < 1400


@given(
    st.lists(
        st.text() | st.dictionaries(st.text(max_size=8), st.integers() | st.text()).map(json.dumps)
    )
)
def test_any_log_has_lines_levels_and_an_order(lines: list[str]):
    found = list(merged([parsed(lines, "a-0"), parsed(lines, "a-1")]))

    assert len(found) == 2 * len(lines)
    assert {one.level for one in found} <= set(LEVELS)
    assert all(isinstance(readable(one.said), str) for one in found)


def test_times_of_any_precision_compare():
    first = "2026-11-28T10:00:00Z a"
    second = "2026-11-28T10:00:00.000000001Z b"
    third = "2026-11-28T10:00:00.1Z c"

    found = merged([parsed([second], "x"), parsed([third], "y"), parsed([first], "z")])

    assert [one.said for one in found] == ["a", "b", "c"]


def test_the_names_are_those_of_the_operator():
    assert f"{PLURAL}.{GROUP}" == ours.CLUSTERS
    assert ours.APPROVE == APPROVE_ANNOTATION
    assert ours.RESTART == RESTART_ANNOTATION == RESTART_TOKEN_ANNOTATION
    assert ours.UNDELETE == UNDELETE_ANNOTATION
    assert (ours.KIND, ours.CLUSTER_LABEL, ours.CONTAINER) == (KIND, CLUSTER_LABEL, CONTAINER)


def test_the_operator_is_found_by_the_label_of_its_chart():
    name, _, value = ours.OPERATOR_LABEL.partition("=")
    chart = (ROOT / "charts/amaters-operator/templates/_names.tpl").read_text()

    assert f"{name}: {value}\n" in chart


def test_the_reference_is_fresh():
    fresh = runpy.run_path(str(ROOT / "tools" / "cli_reference.py"))["plugin_reference"]()

    page = ROOT / "docs" / "reference" / "kubectl-amaters.md"
    assert page.read_text() == fresh, "run `python tools/cli_reference.py`"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_a_command_that_exists(name: str):
    fault = runpy.run_path(str(ROOT / "tests" / "repo" / "test_shown_commands.py"))["fault"]
    command = cli.get_command(None, name)

    for example in command.examples:
        words = example.partition(" > ")[0].partition(" >> ")[0].split()
        assert fault(cli, words[2:]) == "", example
