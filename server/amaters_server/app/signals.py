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
    """What has been received, for whoever can act on it; there is one in a process."""

    def __init__(self) -> None:
        self._noted: list[int] = []
        self._told: Callable[[int], object] | None = None
        self._holding = False

    def catch(self) -> None:
        """Catch them from now on, those included that were held back before the process began."""
        for number in CAUGHT:
            signal.signal(number, self._received)
        self.let_through()

    def let_through(self) -> None:
        """Receive what the image holds back until Python runs."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)

    def hold(self) -> None:
        """Note a signal to stop instead of leaving at once: from now on there is something to do."""
        self._holding = True

    def tell(self, told: Callable[[int], object]) -> None:
        """Hand over the number of every signal, those first that came before.

        It is called between any two instructions of the main thread.
        """
        self._told = told
        noted, self._noted = self._noted, []
        for number in noted:
            told(number)

    def tell_nobody(self) -> None:
        """Note them again: whoever was told is there no more."""
        self._told = None

    def ignore(self) -> None:
        """Let the process end as it does now: Python's own end would put the defaults back."""
        signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)

    def _received(self, number: int, _frame: FrameType | None) -> None:
        if self._told is not None:
            self._told(number)
        elif self._holding or number not in STOPPING:
            self._noted.append(number)
        else:
            # An exception would surface in the middle of somebody's import.
            os._exit(0)


SIGNALS = Signals()
