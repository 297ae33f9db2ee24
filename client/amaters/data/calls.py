"""One call in as many attempts as are needed and safe: over several servers, within one deadline.

Knows endpoints, deadlines and the rules of `retries`; never what a call is about.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import grpc

from amaters.errors import (
    AmatersError,
    DeadlineExceededError,
    NotLeaderError,
    OutcomeUnknownError,
    UnauthenticatedError,
    UnreachableError,
)
from amaters.transport import status
from amaters.transport.backoff import Backoff
from amaters.transport.connections import SilentConnectionError
from amaters.transport.deadlines import call_seconds
from amaters.transport.endpoint import Endpoint
from amaters.transport.endpoints import Endpoints
from amaters.transport.login import Login
from amaters.transport.retry_policy import Repeatable, may_repeat, pause_after
from amaters.transport.runtime import Runtime
from amaters.values import ClientOptions

Answer = TypeVar("Answer")

Attempt = Callable[[Endpoint, float], Awaitable[Answer]]
"""Send the call to that server, and give up after that many seconds."""


@dataclass(slots=True)
class _Effort:
    """The attempts of one call so far."""

    repeatable: Repeatable
    deadline: float
    timeout: timedelta
    login: int = 0
    """The generation of the credentials that the attempts send."""
    attempts: int = 0
    rounds: int = 0
    silences: int = 0
    tried: set[str] = field(default_factory=set)
    """In this round."""
    failures: dict[str, AmatersError] = field(default_factory=dict)
    """The last failure of each server."""
    doubt: OutcomeUnknownError | None = None
    """Set once an attempt may have taken effect: nothing later can make that untrue."""

    def note(self, endpoint: Endpoint, error: AmatersError) -> None:
        """Remember a failed attempt."""
        self.attempts += 1
        self.tried.add(endpoint.address)
        self.failures[endpoint.address] = error
        if isinstance(error, OutcomeUnknownError):
            self.doubt = error
        if isinstance(error, (DeadlineExceededError, OutcomeUnknownError)):
            self.silences += 1

    def verdict(self, last: AmatersError) -> AmatersError:
        """Return the error to raise when no further attempt is made."""
        if self.doubt is not None:
            return self.doubt
        unreachable = [e for e in self.failures.values() if isinstance(e, UnreachableError)]
        if len(self.failures) == 1 or len(unreachable) < len(self.failures):
            return last
        reasons = "; ".join(str(one) for one in unreachable)
        return UnreachableError(
            f"none of {len(unreachable)} servers could be reached in {self.attempts} attempts "
            f"within {self.timeout.total_seconds():g} s: {reasons}"
        )


class Caller:
    """Sends calls to a server that answers."""

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        options: ClientOptions,
        runtime: Runtime,
        login: Login | None = None,
    ) -> None:
        self._login = login
        self._endpoints = endpoints
        self._options = options
        self._runtime = runtime
        self._backoff = Backoff(
            options.backoff_first.total_seconds(), options.backoff_limit.total_seconds(), jitter=1
        )

    async def call(
        self,
        attempt: Attempt[Answer],
        *,
        repeatable: Repeatable,
        timeout: timedelta | None = None,
    ) -> Answer:
        """Return the first answer; else raise one error for all attempts together."""
        limit = self._options.request_timeout if timeout is None else timeout
        seconds = call_seconds(limit)
        effort = _Effort(repeatable, self._runtime.monotonic() + seconds, limit)
        if self._login is not None:
            effort.login = self._login.generation
        while True:
            endpoint = self._endpoints.best(passing_over=effort.tried)
            try:
                answer = await self._attempt(endpoint, attempt, effort)
            except UnauthenticatedError as error:
                # Nothing was done. Newer credentials are a call of their own, and are sent once.
                pause = 0.0
                if not self._has_newer_login(effort):
                    pause = self._settle(endpoint, error, effort)
            except AmatersError as error:
                pause = self._settle(endpoint, error, effort)
            else:
                self._endpoints.succeeded(endpoint)
                return answer
            if pause:
                await self._runtime.sleep(pause)

    def _has_newer_login(self, effort: _Effort) -> bool:
        """Whether credentials have changed since the effort began or last looked."""
        if self._login is None:
            return False
        before, effort.login = effort.login, self._login.renew()
        return effort.login != before

    def pass_over(self, endpoint: Endpoint, error: AmatersError) -> None:
        """Use other servers for a while: this one failed in the middle of a call."""
        self._endpoints.failed(endpoint, error)

    async def _attempt(
        self, endpoint: Endpoint, attempt: Attempt[Answer], effort: _Effort
    ) -> Answer:
        left = effort.deadline - self._runtime.monotonic()
        several = len(self._endpoints) > 1
        if not endpoint.is_connected():
            dial = self._options.failover_dial if several else self._options.connect_timeout
            await endpoint.connect(min(dial, timedelta(seconds=left)))
            left = effort.deadline - self._runtime.monotonic()
        last = effort.attempts + 1 == self._options.max_attempts
        repeatable = effort.repeatable is not Repeatable.NEVER and not last
        if several and repeatable:
            silence = self._options.failover_silence.total_seconds() * 2 ** min(effort.silences, 30)
            left = min(left, silence)
        changing = effort.repeatable is not Repeatable.FREELY
        try:
            async with endpoint.connection.awaited(repeatable=repeatable):
                return await attempt(endpoint, max(left, 0.001))
        except grpc.aio.AioRpcError as error:
            raise status.from_rpc(error, address=endpoint.address, changing=changing) from error
        except SilentConnectionError as error:
            raise status.silent(error, endpoint.address, changing=changing) from error
        except DeadlineExceededError as error:
            if changing and not error.server_code:
                # A timeout of another implementation does not say what was done before it.
                raise status.lost_change("the server timed out", endpoint.address) from error
            raise

    def _settle(self, endpoint: Endpoint, error: AmatersError, effort: _Effort) -> float:
        """Return the pause before the next attempt, or raise when there is none."""
        effort.note(endpoint, error)
        if not may_repeat(error, effort.repeatable):
            raise effort.verdict(error) from error
        if isinstance(error, NotLeaderError) and error.leader_address:
            self._endpoints.prefer(error.leader_address)
        else:
            self._endpoints.failed(endpoint, error)
        pause = 0.0
        if effort.tried.issuperset(self._endpoints.addresses):
            effort.rounds += 1
            effort.tried.clear()
            pause = pause_after(error, effort.rounds, self._backoff, self._runtime.draw)
        out_of_attempts = effort.attempts == self._options.max_attempts
        if out_of_attempts or self._runtime.monotonic() + pause >= effort.deadline:
            raise effort.verdict(error) from error
        return pause
