"""stdout and stderr of the program: what cannot be written to them ends no command.

A write to the cluster is done whether or not its confirmation can be shown: a full disk behind
stdout, a reader that went away, or a terminal that lacks a letter is noted here, and the program
decides at its end what it means for the exit code.
"""

import contextlib
import io
import os
import select
import sys
from typing import TextIO

from typing_extensions import override

ERRORS = "backslashreplace"
"""A letter that the terminal's encoding lacks is shown as its code."""


class _Forgiving(io.RawIOBase):
    """Writes to a file descriptor; the first failure is kept, and what follows is discarded."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.failure: OSError | None = None

    @override
    def writable(self) -> bool:
        return True

    @override
    def fileno(self) -> int:
        return self._descriptor

    @override
    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    @override
    def write(self, data: object) -> int:
        """Write some of it; all of it counts as written after a failure."""
        whole = memoryview(data).cast("B")  # type: ignore[arg-type]
        while self.failure is None:
            try:
                return os.write(self._descriptor, whole)
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = error
        return len(whole)


class ForgivingStream(io.TextIOWrapper):
    """A text stream over such a descriptor."""

    def __init__(self, stream: TextIO) -> None:
        self._target = _Forgiving(stream.fileno())
        super().__init__(
            io.BufferedWriter(self._target),
            encoding=stream.encoding,
            errors=ERRORS,
            line_buffering=stream.isatty() or stream is sys.stderr,
        )

    @property
    def failure(self) -> OSError | None:
        """What the first write that failed said; None when all was taken so far."""
        return self._target.failure


def install() -> None:
    """Replace both streams of the process."""
    for descriptor in (0, 1, 2):
        _occupy(descriptor)
    sys.stdout = _forgiving(sys.stdout, 1)
    sys.stderr = _forgiving(sys.stderr, 2)


def _occupy(descriptor: int) -> None:
    """Open a closed descriptor: else the next socket would be taken for it."""
    try:
        os.fstat(descriptor)
    except OSError:
        # The lowest free descriptor is the one that was found closed.
        os.open(os.devnull, os.O_RDWR)


def _forgiving(stream: TextIO | None, descriptor: int) -> ForgivingStream:
    if stream is None:
        stream = os.fdopen(descriptor, "w", closefd=False)
    with contextlib.suppress(OSError):
        stream.flush()
    return ForgivingStream(stream)


def lost(stream: TextIO | None = None) -> OSError | None:
    """Flush stdout, and return why it no longer takes what is written; None when it does."""
    found = sys.stdout if stream is None else stream
    if not isinstance(found, ForgivingStream):
        return None
    found.flush()
    return found.failure


def takes(letters: str) -> bool:
    """Whether stdout can show these letters."""
    try:
        letters.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
