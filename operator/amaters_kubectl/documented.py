"""Commands that show examples at the end of their help."""

from collections.abc import Sequence
from typing import Any

import click
from typing_extensions import override


class Documented(click.Command):
    """A command with examples, which `--help` shows as they are typed."""

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 They are click's own.
        examples: Sequence[str],
        **attributes: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.examples = tuple(examples)

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Examples" if len(self.examples) > 1 else "Example"):
            for one in self.examples:
                formatter.write(f"{' ' * formatter.current_indent}{one}\n")
