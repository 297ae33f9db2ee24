"""Every command of our programs that a document shows exists, options and all."""

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from amaters.cli.main import cli
from amaters_kubectl.program import cli as plugin
from amaters_server.app.cli import main as server

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {ROOT / "docs" / "cli.md", ROOT / "docs" / "reference" / "kubectl-amaters.md"}
PAGES = [
    page
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if page not in GENERATED and page.name != "CHANGELOG.md"
]
PROGRAMS = {"amaters-cli": cli, "amaters-server": server, "kubectl amaters": plugin}
SHOWN = re.compile(
    r"(?:^|^\s+|-- )(amaters-(?:cli|server)|kubectl amaters) ([^`\n#]*)", re.MULTILINE
)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")


def shown(text: str) -> list[tuple[str, list[str]]]:
    """The commands in code blocks and between backticks; prose that names a program is none."""
    blocks = FENCED.findall(text)
    spans = INLINE.findall(FENCED.sub("", text))
    found = [match for code in [*blocks, *spans] for match in SHOWN.findall(code)]
    return [(program, _words(rest)) for program, rest in found if _words(rest)]


def _words(rest: str) -> list[str]:
    """The words up to the end of that command: a pipe, a list of alternatives, three dots."""
    rest = re.split(r"\||;|&&|…|\.\.\.|>|\)$", rest)[0]
    try:
        return shlex.split(rest)
    except ValueError:
        return rest.split()


def fault(command: click.Command, words: list[str]) -> str:
    """Why this is no command; empty when it is one. Arguments are not judged, only their number."""
    options = {
        name: one
        for one in command.params
        if isinstance(one, click.Option)
        for name in (*one.opts, *one.secondary_opts)
    }
    options |= {"--help": click.Option(["--help"], is_flag=True)}
    arguments = 0
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("-") and word != "-":
            name, _, value = word.partition("=")
            if name not in options:
                return f"{command.name} has no option {name}"
            if not options[name].is_flag and not value and rest:
                rest.pop(0)
        elif isinstance(command, click.Group):
            inner = command.get_command(click.Context(command), word)
            return f"{command.name} has no command {word}" if inner is None else fault(inner, rest)
        else:
            arguments += 1
    most = sum(
        1 if one.nargs == 1 else 99 for one in command.params if isinstance(one, click.Argument)
    )
    return f"{command.name} takes {most} arguments" if arguments > most else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_shown_exists(page: Path):
    faults = {
        f"{program} {' '.join(words)}": why
        for program, words in shown(page.read_text())
        if (why := fault(PROGRAMS[program], words))
    }

    assert not faults


@pytest.mark.parametrize(
    "line",
    [
        "amaters-cli cluster alert",
        "amaters-cli --admin host:1 cluster alerts --folow",
        "amaters-cli admin logs --level warn 1 true 3",
        "amaters-server sart",
        "kubectl amaters stauts",
        "kubectl amaters status orders --yes",
    ],
)
def test_what_does_not_exist_is_found(line: str):
    [(program, words)] = shown(f"```\n{line}\n```")

    assert fault(PROGRAMS[program], words)


def documented(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """That command and every command below it, with what is typed to run it."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from documented(inner, f"{path} {name}")


HELP_PAGES = [
    page for name in ("amaters-cli", "amaters-server") for page in documented(PROGRAMS[name], name)
]


@pytest.mark.parametrize(("path", "command"), HELP_PAGES, ids=[path for path, _ in HELP_PAGES])
def test_every_help_page_ends_with_an_example_of_its_command(path: str, command: click.Command):
    examples = [shlex.split(one) for one in (command.epilog or "").splitlines()[2:]]

    assert examples
    for program, *rest in examples:
        words = list(itertools.takewhile(lambda word: word not in (">", ">>"), rest))
        assert not fault(PROGRAMS[program], words)
    if not isinstance(command, click.Group):
        assert any(_verbs(one)[: len(path.split())] == path.split() for one in examples)


def _verbs(words: list[str]) -> list[str]:
    """The words without options before the command and their values."""
    while words[1].startswith("-"):
        del words[1:3]
    return words
