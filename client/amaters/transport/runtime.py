"""Clocks, random numbers and ids, as arguments: tests pass their own."""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


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
