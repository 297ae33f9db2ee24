"""One thing done again and again in a thread, while a test does another."""

import subprocess
import threading
from types import TracebackType
from typing import Self

from demo.kubectl import CommandError


class RepeatedError(AssertionError):
    """The thread stopped before the block ended: nothing that it noted proves anything."""


class Repeated:
    """Calls `once` until the block ends.

    kubectl that fails or takes too long, as it may while pods are replaced, is counted in `missed`.
    Every other error ends the thread: `check` and the end of the block raise it.
    """

    def __init__(self, name: str, *, interval: float = 0.3) -> None:
        self.missed: list[str] = []
        self._name = name
        self._interval = interval
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        if error is None:
            self.check()
        elif self._error is not None:
            error.add_note(f"the {self._name} stopped before: {self._error!r}")

    def check(self) -> None:
        """Raise RepeatedError when the thread has stopped because of an error."""
        if self._error is not None:
            raise RepeatedError(f"the {self._name} stopped: {self._error!r}") from self._error

    def once(self) -> None:
        """Do it once."""
        raise NotImplementedError

    def pause(self) -> float:
        """Return the seconds until the next time."""
        return self._interval

    def _run(self) -> None:
        while not self._ended.wait(self.pause()):
            try:
                self.once()
            except (CommandError, subprocess.TimeoutExpired) as error:
                self.missed.append(str(error))
            except Exception as error:
                self._error = error
                return
