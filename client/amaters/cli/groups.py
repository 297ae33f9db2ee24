"""Command groups that take their verbs in any case, as the published manuals write them."""

import click
from typing_extensions import override


class ForgivingGroup(click.Group):
    """A group in which BACKUP means backup."""

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find the command whatever the case."""
        return super().get_command(ctx, cmd_name.lower())
