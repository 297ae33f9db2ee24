"""Following a cluster until what was asked for is reached."""

import sys
import time
from collections.abc import Callable

import click

from amaters_kubectl.call import Call
from amaters_kubectl.cluster.goals import Progress
from amaters_kubectl.cluster.view import ClusterView
from amaters_kubectl.errors import NotInTimeError
from amaters_kubectl.screens.lines import cut, plain, span

PAUSE_SECONDS = 1.0


class ProgressLine:
    """One line on stderr: rewritten on a terminal, and otherwise written when it changes."""

    def __init__(self) -> None:
        self._last = ""
        self._terminal = sys.stderr.isatty()
        self._started = time.monotonic()

    def show(self, said: str, columns: int) -> None:
        """Show the progress."""
        said = plain(said)
        if self._terminal:
            spent = span(int(time.monotonic() - self._started))
            click.echo(f"\r\x1b[K{cut(f'{said} ({spent})', columns - 1)}", nl=False, err=True)
        elif said != self._last:
            click.echo(said, err=True)
        self._last = said

    def end(self) -> None:
        """Clear the line."""
        if self._terminal and self._last:
            click.echo("\r\x1b[K", nl=False, err=True)


def follow(
    call: Call,
    name: str,
    goal: Callable[[ClusterView], Progress],
    *,
    what: str,
) -> ClusterView:
    """Read the cluster until the goal is reached; NotInTimeError when time or a person is missing."""
    end = time.monotonic() + call.timeout
    line = ProgressLine()
    try:
        while True:
            cluster = call.cluster(name)
            progress = goal(cluster)
            if progress.done:
                return cluster
            if progress.held:
                raise NotInTimeError("held", f"{what}: asked for, and {progress.held}")
            line.show(progress.said, call.columns)
            if time.monotonic() + PAUSE_SECONDS > end:
                raise NotInTimeError(
                    "not_in_time",
                    f"{what}: not done within {span(int(call.timeout))}, last: {progress.said}. It "
                    f"goes on by itself: look with kubectl amaters status {name}",
                )
            time.sleep(PAUSE_SECONDS)
    finally:
        line.end()
