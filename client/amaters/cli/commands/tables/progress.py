"""How far a long command is: a bar on a terminal, and elsewhere a line now and then."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text
from typing_extensions import override

from amaters.cli import formatting
from amaters.cli.output import Output

LINE_SECONDS = 5.0
"""Between two lines where there is no terminal."""


class _Rows(ProgressColumn):
    """Rows so far, and how many of them a second."""

    @override
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        shown = f"{task.completed:,.0f} rows"
        return Text(shown if speed is None else f"{shown}, {speed:,.0f}/s")


class Meter:
    """Counts rows and bytes, and shows them on stderr while it is open."""

    def __init__(
        self,
        out: Output,
        label: str,
        *,
        total: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rows = 0
        self.bytes = 0
        self._out = out
        self._label = label
        self._clock = clock
        self._begun = self._told = clock()
        self._bar: Progress | None = None
        if out.notes.is_terminal:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TaskProgressColumn(),
                _Rows(),
                TextColumn("{task.fields[size]}"),
                TimeElapsedColumn(),
                console=out.notes,
                transient=True,
                get_time=clock,
            )
            self._task = self._bar.add_task(label, total=total, size="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return self._clock() - self._begun

    def add(self, rows: int, size: int) -> None:
        """Count what was done."""
        self.rows += rows
        self.bytes += size
        if self._bar is not None:
            shown = formatting.size(self.bytes)
            self._bar.update(self._task, completed=self.rows, size=shown)
        elif self._out.is_table and self._clock() - self._told >= LINE_SECONDS:
            self._told = self._clock()
            self._out.note(f"{self._label}: {self.rows:,} rows, {formatting.size(self.bytes)}")


class Pace:
    """Lets so many rows a second pass; None: all of them."""

    def __init__(
        self,
        rate: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._next = clock()

    async def passed(self, rows: int) -> None:
        """Return once so many rows may follow; what was not used before is not saved up."""
        if self._rate is None:
            return
        self._next = max(self._next, self._clock()) + rows / self._rate
        pause = self._next - self._clock()
        if pause > 0:
            await self._sleep(pause)
