"""On a real terminal of 80 by 24: colors, the size of the screen, a progress line, Ctrl-C."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

pytestmark = pytest.mark.slow
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(*arguments: str, interrupt: float = 0, **environment: str) -> tuple[str, int]:
    """Run the program on a pseudo-terminal; return what it shows, and its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {
        k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")
    } | environment
    with subprocess.Popen(
        [sys.executable, "-m", "amaters_kubectl", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        if interrupt:
            time.sleep(interrupt)
            process.send_signal(signal.SIGINT)
        shown = b""
        try:
            while more := os.read(ours, 65536):
                shown += more
        except OSError:
            pass  # Linux ends a terminal that nobody writes to any more with EIO.
        code = process.wait(20)
    os.close(ours)
    return shown.decode().replace("\r\n", "\n"), code


def test_the_screen_has_colors_and_fits(kube, make):
    said = make.condition(
        "Stalled", "True", "NoNodeFits", "add a node, or lower the requests. " * 60
    )
    kube.set(make.orders(conditions={"Stalled": said}))

    shown, code = on_terminal("status", "orders")

    lines = ESCAPE.sub("", shown).splitlines()
    assert code == 3
    assert "\x1b[31m\x1b[1munhealthy" in shown
    assert len(lines) <= 23
    assert [line for line in lines if len(line) > 80] == []
    assert len(ESCAPE.sub("", on_terminal("status", "orders", "--full")[0]).splitlines()) > 24


def test_no_color_is_kept(kube):
    assert ESCAPE.search(on_terminal("status", "orders", NO_COLOR="1")[0]) is None


def test_waiting_rewrites_one_line(kube):
    shown, code = on_terminal("pause", "orders", "--wait", "--timeout", "2")

    assert code == 4
    assert shown.count("\r\x1b[Kwaiting for the operator to confirm the pause (") >= 2
    assert shown.count("\n") == 1, "one line for the error, none for progress"


@pytest.mark.parametrize(
    "arguments", [("pause", "orders", "--wait"), ("logs", "orders", "-f", "--pod", "orders-0")]
)
def test_an_interrupt_ends_it_without_a_traceback(kube, make, arguments):
    kube.set(make.orders(), logs={"orders-0": ["2026-11-28T10:00:00Z a"]}, hangs=True)

    shown, code = on_terminal(*arguments, interrupt=1.5)

    assert "Traceback" not in shown
    assert code == 130
