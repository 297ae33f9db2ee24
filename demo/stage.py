"""What the Kubernetes demo shows with: its screen, its steps, and the test bed's own words."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from demo.kubectl import ROOT

screen = Console(highlight=False)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show what is going on, and how long it took."""
    start = time.monotonic()
    with screen.status(f"[bold]{title}[/]"):
        yield
    screen.print(f"[green]✓[/] {title} [dim]({time.monotonic() - start:.1f} s)[/]")


def testbed(*arguments: str) -> str:
    """Run the test bed's command line and return what it prints."""
    script = ROOT / "tests" / "testbed" / "cluster.py"
    done = subprocess.run(
        [sys.executable, str(script), *arguments], text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.strip()


def figures(summary: dict[str, object]) -> Table:
    """Lay out a workload's summary."""
    table = Table(title="What the client saw", show_header=False)
    for name in ("acknowledged", "read", "failed_writes", "failed_reads"):
        table.add_row(name.replace("_", " "), str(summary[name]))
    table.add_row("longest write gap", f"{summary['longest_write_gap_ms']} ms")
    table.add_row("longest read gap", f"{summary['longest_read_gap_ms']} ms")
    violations = summary["violations"]
    lost = len(violations) if isinstance(violations, list) else -1
    table.add_row("lost or stale", f"[bold {'red' if lost else 'green'}]{lost}[/]")
    return table
