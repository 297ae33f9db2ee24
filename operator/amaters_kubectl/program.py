"""`kubectl amaters`: the root of all commands, and exit codes.

Exit codes: 0 done; 1 failed, and stderr says why; 2 wrong usage; 3 `status` found what needs a
person; 4 `--wait` ended before it was done; 130 interrupted.
"""

import sys
from typing import Any

import click
from amaters.command_tree import LazyGroup
from amaters.version import __version__
from typing_extensions import override

from amaters_kubectl import call
from amaters_kubectl.errors import INTERRUPTED, NotInTimeError, PluginError

FAILED = 1
UNHEALTHY = 3
NOT_IN_TIME = 4

_COMMANDS = "amaters_kubectl.commands"
COMMANDS = {
    "status": f"{_COMMANDS}.status:status",
    "plan": f"{_COMMANDS}.plan:plan",
    "approve": f"{_COMMANDS}.plan:approve",
    "pause": f"{_COMMANDS}.holding:pause",
    "resume": f"{_COMMANDS}.holding:resume",
    "hibernate": f"{_COMMANDS}.holding:hibernate",
    "wake": f"{_COMMANDS}.holding:wake",
    "fence": f"{_COMMANDS}.fencing:fence",
    "unfence": f"{_COMMANDS}.fencing:unfence",
    "transfer": f"{_COMMANDS}.moving:transfer",
    "restart": f"{_COMMANDS}.moving:restart",
    "undelete": f"{_COMMANDS}.undelete:undelete",
    "history": f"{_COMMANDS}.history:history",
    "logs": f"{_COMMANDS}.logs:logs",
    "support-bundle": f"{_COMMANDS}.support_bundle:support_bundle",
    "version": f"{_COMMANDS}.version:version",
    "completion": f"{_COMMANDS}.completion:completion",
    "__complete": f"{_COMMANDS}.completion:complete_for_kubectl",
}
"""The module of each command, in the order in which a person meets them."""


class Program(LazyGroup):
    """The one place where an error becomes text and an exit code."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, the first ones first."""
        return [one for one in COMMANDS if not one.startswith("_")]

    @override
    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print an error in the format of the results."""
        try:
            return super().invoke(ctx)
        except PluginError as error:
            _report(ctx, error)
            ctx.exit(NOT_IN_TIME if isinstance(error, NotInTimeError) else FAILED)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader of our output has closed it: discard what is left in the buffer.
            sys.stdout = None
            ctx.exit(FAILED)


@click.group(
    "amaters",
    cls=Program,
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@call.connection
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Look at AmateRS databases on Kubernetes, and act on them.

    Start with `kubectl amaters status`: it ends with what to do next. Options that choose the
    cluster, such as -n, may come before or after the command.
    """
    if call.colorless():
        ctx.color = False


def main() -> None:
    """Run the program with the process's arguments."""
    cli(prog_name="kubectl amaters")


def _report(ctx: click.Context, error: PluginError) -> None:
    if form := call.of(ctx).format:
        value = {"status": "error", "code": error.code, "message": str(error)}
        click.echo(call.encoded(value, form), err=True)
    else:
        click.echo(f"{click.style('✗ Error:', fg='red')} {error}", err=True)


__all__ = ["COMMANDS", "UNHEALTHY", "__version__", "cli", "main"]
