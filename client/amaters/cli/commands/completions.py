"""`amaters-cli completions SHELL`: the script that lets a shell complete commands and options."""

from pathlib import Path

import click

from amaters.cli.config_file import write_text
from amaters.cli.shells import SHELLS, VARIABLE
from amaters.command_tree import example


@click.command(
    "completions",
    epilog=example(
        "amaters-cli completions bash -o ~/.local/share/bash-completion/completions/amaters-cli",
        "amaters-cli completions powershell >> $PROFILE",
    ),
)
@click.argument("shell", type=click.Choice([*SHELLS], case_sensitive=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the script to this file.",
)
@click.pass_context
def completions(ctx: click.Context, shell: str, output: Path | None) -> None:
    """Write the completion script for a shell; load it from the shell's start-up file."""
    program = ctx.find_root().command
    script = SHELLS[shell](program, {}, "amaters-cli", VARIABLE).source()
    if output is None:
        click.echo(script)
    else:
        write_text(output, script)
