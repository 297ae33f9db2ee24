"""Failures a test plans ahead for a fake server's next calls."""

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import NoReturn, Protocol

import grpc

from amaters.transport.status import CODE_TRAILER, LEADER_TRAILER


class Context(Protocol):
    """The part of gRPC's call context a fake needs; the published types lack the async one."""

    async def abort(
        self, code: grpc.StatusCode, details: str, trailing_metadata: tuple[tuple[str, str], ...]
    ) -> NoReturn:
        """End the call with that status."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """How one call fails. A fault with `silent` never answers; the caller's deadline ends it."""

    status: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    details: str = ""
    server_code: str = ""
    leader_address: str = ""
    silent: bool = False

    async def befall(self, context: Context) -> NoReturn:
        """Fail the call as planned; never returns."""
        if self.silent:
            await asyncio.Event().wait()
        trailers = ((CODE_TRAILER, self.server_code), (LEADER_TRAILER, self.leader_address))
        await context.abort(self.status, self.details, tuple(one for one in trailers if one[1]))


class Faults:
    """Faults waiting for the calls they are meant for, in the order they were planned."""

    def __init__(self) -> None:
        self._planned: defaultdict[str, deque[Fault]] = defaultdict(deque)

    def plan(self, method: str, *faults: Fault) -> None:
        """Let the next calls of that method fail, one fault each."""
        self._planned[method].extend(faults)

    async def strike(self, method: str, context: Context) -> None:
        """Fail this call when a fault is planned for it; else do nothing."""
        if self._planned[method]:
            await self._planned[method].popleft().befall(context)
