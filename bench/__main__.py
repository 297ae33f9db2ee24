"""`python -m bench [SCENARIO]...`: measure, print, and keep the figures as JSON."""

import asyncio
import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from bench import machine, places, scenarios
from bench.effort import FULL, QUICK, Effort
from bench.report import Report, save, show

WIDTH = 160
"""Of the tables when they go to a file."""
DEFAULT = ("throughput", "permissions", "failover")


def _numbers(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError as problem:
        raise click.BadParameter("give numbers with commas between: 1,50,200") from problem


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(scenarios.ALL)))
@click.option("--full", is_flag=True, help="As long as the published figures took.")
@click.option("--rounds", type=click.IntRange(1), help="Measurements of each line (throughput).")
@click.option("--seconds", type=click.FloatRange(0.5), help="Length of one (throughput).")
@click.option("--callers", callback=_numbers, default="", help="Such as 1,50,200 (throughput).")
@click.option("--repetitions", type=click.IntRange(1), help="Kills, moves, stops (failover).")
@click.option("--megabytes", type=click.IntRange(1), help="What a follower lacks (catchup).")
@click.option(
    "--records", type=click.IntRange(1), help="What is there (restart, snapshot, tables)."
)
@click.option("--clusters", type=click.IntRange(1), help="Of one operator (operator).")
@click.option("--only", default="", help="Targets whose name contains this (throughput).")
@click.option("--keep", is_flag=True, help="Leave data folders and logs in .cache/bench.")
def main(names: tuple[str, ...], *, full: bool, only: str, keep: bool, **sizes: object) -> None:
    """Measure the scenarios named, or throughput, permissions and failover."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # So that everything is stopped.
    console = Console(width=None if Console().is_terminal else WIDTH)
    given = {name: size for name, size in sizes.items() if size}
    effort = dataclasses.replace(FULL if full else QUICK, **given)  # type: ignore[arg-type]
    with places.scratch(keep=keep) as folder:
        facts, neighbours = machine.facts(folder), machine.Neighbours()
        console.print(facts.sentence())
        reports = asyncio.run(_measure(names or DEFAULT, effort, only, folder, console))
    share = neighbours.share()
    console.print(f"other programs took {share:.0%} of the machine's processor time meanwhile")
    console.print(f"written to {save(reports, facts, share, places.RESULTS)}")


async def _measure(
    names: tuple[str, ...], effort: Effort, only: str, folder: Path, console: Console
) -> list[Report]:
    reports: list[Report] = []
    say: Callable[[str], None] = lambda text: console.print(f"  {text}", style="dim")  # noqa: E731
    for name in names:
        console.rule(name)
        own = folder / name
        own.mkdir()
        reports.append(await scenarios.ALL[name](effort, only, own, say))
        show(reports[-1], console)
    return reports


if __name__ == "__main__":
    main()
