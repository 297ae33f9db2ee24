"""`amaters-cli watch`: a command again and again, on a clean screen."""

import sys
import time
from datetime import UTC, datetime
from itertools import count

import click
from click.exceptions import Exit

from amaters.cli import streams
from amaters.cli.formatting import timestamp
from amaters.cli.terminal import Terminal, pass_terminal
from amaters.command_tree import example
from amaters.errors import AmatersError

_LONGEST_SECONDS = 86_400
_NEVER = ("watch", "interactive")
"""Commands that do not end by themselves."""


@click.command(
    "watch",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=example(
        "amaters-cli watch 2 cluster status",
        "amaters-cli -c users watch --times 6 10 scan user:",
    ),
)
@click.option("-n", "--times", type=click.IntRange(min=1), help="End after so many runs.")
@click.argument("seconds", type=click.FloatRange(0.1, _LONGEST_SECONDS))
@click.argument("command", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_terminal
@click.pass_context
def watch(
    ctx: click.Context,
    terminal: Terminal,
    *,
    times: int | None,
    seconds: float,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND of amaters-cli every SECONDS, with the options given before `watch`.

    On a terminal the screen is cleared before each run; elsewhere a line with the time is written
    to stderr. A run that fails shows why, and does not end it. Ctrl-C does; the exit code is then
    130, and after --times that of the last run.
    """
    root = ctx.find_root()
    code = 0
    for number in count(1):
        begun = time.monotonic()
        now = timestamp(datetime.now(UTC).replace(microsecond=0))
        if sys.stdout.isatty():
            click.clear()
            print(f"Every {seconds:g} s: {' '.join(command)}    {now}\n")
        else:
            terminal.out.note(f"{now} {' '.join(command)}")
        code = _run(root, terminal, command)
        failure = streams.lost()
        if failure is not None:
            raise failure
        if number == times:
            ctx.exit(code)
        try:
            time.sleep(max(0.0, seconds - (time.monotonic() - begun)))
        except KeyboardInterrupt:
            ctx.exit(130)


def _run(root: click.Context, terminal: Terminal, words: tuple[str, ...]) -> int:
    """Run it once; returns its exit code. UsageError when there is no such command."""
    group = root.command
    if not isinstance(group, click.Group):
        raise TypeError(f"{group} is no group of commands")
    name, command, rest = group.resolve_command(root, list(words))
    if command is None or name in _NEVER:
        raise click.UsageError(f"{words[0]} does not end by itself, and cannot be watched")
    try:
        with command.make_context(name, rest, parent=root) as context:
            command.invoke(context)
    except Exit as ended:
        return ended.exit_code
    except AmatersError as error:
        terminal.out.error(error)
        return 1
    return 0
