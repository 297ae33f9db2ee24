"""Signals, from the first line of the process to its last.

Without a handler the kernel drops every signal to process 1 of a container, SIGTERM too; anywhere
else SIGHUP would end the process. So they are caught before anything else is imported, and this
module imports next to nothing itself.
"""

import os
import signal
from collections.abc import Callable
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT)
CAUGHT = (*STOPPING, signal.SIGHUP)


class Signals:
    """The received signals, until a handler acts on them; one in a process."""

    def __init__(self) -> None:
        self._noted: list[int] = []
        self._handler: Callable[[int], object] | None = None
        self._holding = False

    def catch(self) -> None:
        """Catch them from now on, those included that were blocked before the process began."""
        for number in CAUGHT:
            signal.signal(number, self._received)
        self.let_through()

    def let_through(self) -> None:
        """Receive what the image blocks until Python runs."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)

    def hold(self) -> None:
        """Note a signal to stop instead of exiting at once: now there is something to stop."""
        self._holding = True

    def deliver(self, handler: Callable[[int], object]) -> None:
        """Pass on the number of every signal, earlier ones first.

        It is called between any two instructions of the main thread.
        """
        self._handler = handler
        noted, self._noted = self._noted, []
        for number in noted:
            handler(number)

    def keep(self) -> None:
        """Note them again: the handler is gone."""
        self._handler = None

    def ignore(self) -> None:
        """Let the process end as it does now: Python's own end would put the defaults back."""
        signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)

    def _received(self, number: int, _frame: FrameType | None) -> None:
        if self._handler is not None:
            self._handler(number)
        elif self._holding or number not in STOPPING:
            self._noted.append(number)
        else:
            # An exception would surface in the middle of an import.
            os._exit(0)


SIGNALS = Signals()
