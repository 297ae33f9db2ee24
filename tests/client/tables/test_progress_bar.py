"""The bar of long commands, as a terminal shows it."""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from amaters.cli.commands.tables.progress import LINE_SECONDS, Meter
from amaters.cli.flags import Format
from amaters.cli.output import Output


@pytest.fixture
def out(screen: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Output]:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(os.dup(screen.slave), "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        yield Output(Format.TABLE, color=True)


def test_the_bar_shows_share_rows_speed_size_and_time(
    out: Output, screen: Any, golden: Callable[[str, str], None]
) -> None:
    now = 0.0
    screens = []
    with Meter(out, "Importing", total=1_000_000, clock=lambda: now) as meter:
        for _ in range(5):
            now += 2.0
            meter.add(50_000, 6_000_000)
        screens.append(screen.until("25%"))
        now += 30.0
        meter.add(750_000, 90_000_000)
        screens.append(screen.until("100%"))

    screen.read()
    assert screen.text == "\n"
    golden("import_bar", "".join(screens))


def test_without_a_total_there_is_no_share(
    out: Output, screen: Any, golden: Callable[[str, str], None]
) -> None:
    now = 0.0
    with Meter(out, "Exporting", clock=lambda: now) as meter:
        now = 3.0
        meter.add(1234, 999)
        seen = screen.until("1,234 rows")

    golden("export_bar", seen)


def test_without_a_terminal_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    with Meter(Output(Format.TABLE, color=True), "Exporting", clock=lambda: now) as meter:
        for _ in range(11):
            now += LINE_SECONDS / 5
            meter.add(1000, 2048)

    assert capsys.readouterr().err == (
        "Exporting: 5,000 rows, 10.0 KiB\nExporting: 10,000 rows, 20.0 KiB\n"
    )


def test_programs_get_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with Meter(Output(Format.JSON, color=True), "Exporting", clock=lambda: now) as meter:
        now = 100.0
        meter.add(1000, 2048)

    assert capsys.readouterr().err == ""
