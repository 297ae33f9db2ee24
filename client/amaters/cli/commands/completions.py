"""`amaters-cli completions SHELL`: the script that lets a shell complete commands and options."""

from pathlib import Path

import click
from click.shell_completion import get_completion_class

from amaters.cli.config_file import write_text
from amaters.errors import ConfigurationError

SHELLS = ("bash", "zsh", "fish")


@click.command("completions")
@click.argument("shell", type=click.Choice(SHELLS, case_sensitive=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the script to this file.",
)
@click.pass_context
def completions(ctx: click.Context, shell: str, output: Path | None) -> None:
    """Write the completion script for a shell; load it from the shell's start-up file."""
    made = get_completion_class(shell)
    if made is None:
        raise ConfigurationError(f"no completion is known for {shell}")
    program = ctx.find_root().command
    script = made(program, {}, "amaters-cli", "_AMATERS_CLI_COMPLETE").source()
    if output is None:
        click.echo(script)
    else:
        write_text(output, script)
