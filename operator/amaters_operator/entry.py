"""Entry of the `amaters-operator` program: it can be stopped while its modules are imported.

Without a handler the kernel drops SIGTERM to process 1 of a container.
"""

import os
import signal
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Run the program; a signal during its imports ends it at once."""
    for number in STOPPING:
        signal.signal(number, _leave)
    # The image blocks these signals, so that none is lost while Python starts.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    from amaters_operator.__main__ import main as run  # noqa: PLC0415 That is the point.

    run()


def _leave(_number: int, _frame: FrameType | None) -> None:
    # An exception would surface in the middle of an import.
    os._exit(0)
