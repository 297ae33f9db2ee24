"""Clocks, random numbers and ids, as arguments: tests pass their own."""

import asyncio
import os
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from amaters.errors import InvalidRequestError


def _session_id() -> str:
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The clocks and generators a client uses."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[], float] = random.random
    """A number in [0, 1), for jitter; needs no secrecy."""
    session_id: Callable[[], str] = _session_id
    """Hexadecimal, never the same twice anywhere."""


class _Forks:
    """Counts the forks between the first process and this one."""

    count = 0

    def note(self) -> None:
        """Note one, in the child."""
        self.count += 1


_forks = _Forks()
os.register_at_fork(after_in_child=_forks.note)


class Owner:
    """The event loop and the process that a connection belongs to: those of its first use."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forks = 0

    @property
    def is_elsewhere(self) -> bool:
        """Whether it belongs to another event loop or process than the caller's."""
        if self._loop is None:
            return False
        return self._loop is not _running() or self._forks != _forks.count

    def require(self, address: str) -> None:
        """Refuse callers elsewhere, before gRPC would hang or fail in its own words."""
        loop = _running()
        if loop is None:
            return
        if self._loop is None:
            self._loop, self._forks = loop, _forks.count
        elif self._forks != _forks.count:
            raise InvalidRequestError(
                "this client was made before this process was forked, and its connections belong "
                "to the parent: start processes by `spawn`, or before the first client is made, "
                "and make a client in each",
                address=address,
            )
        elif self._loop is not loop:
            raise InvalidRequestError(
                "this client belongs to another event loop: make one in each, inside the coroutine "
                "that asyncio.run is given, and close it there",
                address=address,
            )


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
