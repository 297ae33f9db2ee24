"""`kubectl amaters completion`: commands, options and names of clusters by the Tab key."""

from typing import Final

import click
from click.shell_completion import ShellComplete, get_completion_class

from amaters_kubectl import names
from amaters_kubectl.documented import Documented

_KUBECTL: Final = """\
#!/bin/sh
# kubectl runs this for `kubectl amaters <Tab>`: save it as kubectl_complete-amaters on PATH.
exec kubectl-amaters __complete "$@"
"""
_NO_FILES: Final = ":4"
"""The end of an answer to kubectl: offer no names of files."""


@click.command(
    "completion",
    cls=Documented,
    examples=(
        "kubectl amaters completion kubectl > ~/.local/bin/kubectl_complete-amaters",
        "kubectl amaters completion bash >> ~/.bashrc",
    ),
)
@click.argument("shell", type=click.Choice(("kubectl", "bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Write a completion script.

    `kubectl` writes the program by which kubectl itself completes `kubectl amaters`; the others
    complete `kubectl-amaters`, for a shell.
    """
    made = get_completion_class(shell)
    if shell == "kubectl" or made is None:
        click.echo(_KUBECTL, nl=False)
        return
    root = ctx.find_root().command
    click.echo(made(root, {}, "kubectl-amaters", "_KUBECTL_AMATERS_COMPLETE").source())


@click.command(
    "__complete",
    cls=Documented,
    examples=(f"{names.PROGRAM} __complete status ''",),
    hidden=True,
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def complete_for_kubectl(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Answer kubectl: what may follow the words, the last of which has begun."""
    *before, begun = words or ("",)
    root = ctx.find_root().command
    asked = ShellComplete(root, {}, "kubectl-amaters", "_KUBECTL_AMATERS_COMPLETE")
    for one in asked.get_completions(before, begun):
        click.echo(f"{one.value}\t{one.help}" if one.help else one.value)
    click.echo(_NO_FILES)
