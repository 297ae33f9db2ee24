"""The start of `kubectl amaters`: an interrupt works before its modules are imported."""

import os
import signal
from types import FrameType

from amaters_kubectl.errors import INTERRUPTED


def main() -> None:
    """Run the program; Ctrl-C during its imports ends it without a word."""
    # An exception would surface in the middle of an import, which may turn it into another one.
    signal.signal(signal.SIGINT, _leave)
    from amaters_kubectl.program import main as run  # noqa: PLC0415 That is the point.

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
