"""Groups of commands that import a command on first use.

A program that answers `--version` needs nothing of what its commands need; importing all of them
would take most of its time.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click
from typing_extensions import override


def example(*lines: str) -> str:
    """Return examples as the end of a help page, each on a line as it is typed."""
    title = "Example:" if len(lines) == 1 else "Examples:"
    return "\b\n" + "\n".join([title, *(f"  {one}" for one in lines)])


class ForgivingGroup(click.Group):
    """A group in which BACKUP means backup, as the published manuals write it."""

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find the command whatever the case."""
        return super().get_command(ctx, cmd_name.lower())


class LazyGroup(ForgivingGroup):
    """A group that maps names of commands to `module:attribute`."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 They are click's own.
        places: Mapping[str, str],
        **attributes: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **attributes)
        self._places = places

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in alphabetical order."""
        return sorted({*self._places, *super().list_commands(ctx)})

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find the command whatever the case, importing its module."""
        place = self._places.get(cmd_name.lower())
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = place.partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{place} is no command")
        return command

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; click suggests similar names only of commands that are imported."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as unknown:
            from difflib import get_close_matches  # noqa: PLC0415

            if not (close := get_close_matches(args[0], self._places, n=1)):
                raise
            hint = f"{unknown.format_message()} Did you mean {close[0]!r}?"
            raise click.UsageError(hint, ctx) from None
