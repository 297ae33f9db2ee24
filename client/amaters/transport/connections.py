"""One connection: its calls in progress, and whether the server still answers over it.

gRPC detects only after minutes that the other side was cut off rather than closed. So a connection
over which a call waits is probed: when no answer has come for a while the server is sent a health
check, and when that is not answered either the connection is replaced. gRPC's own keepalive would
do the same, but fails every call of the connection: here calls that may be repeated fail at once,
and the others go on waiting on the old connection.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import grpc

from amaters.transport.probe_timeout import ProbeTimeout

PROBE = "/amaters.aql.AqlService/HealthCheck"
LONGEST_PAUSE_SECONDS = 4.0
"""Between two probes while a server takes long to answer a call."""
LATE_SECONDS = 4.0
"""How much longer an unanswered probe stays open: a late answer shows that the server was slow."""
SLICES = 5
_NO_ANSWER = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


class SilentConnectionError(Exception):
    """No answer comes over the connection, and what was sent may have arrived or not."""


class Connection:
    """A channel to one server; belongs to one event loop.

    Nothing is sent and no task is made for calls that are answered soon.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        probe_after: float,
        probe_timeout: ProbeTimeout,
        on_suspicion: Callable[["Connection"], None],
        on_silence: Callable[["Connection", float], None],
    ) -> None:
        self.channel = channel
        self._probe_after = self._pause = probe_after
        self._probe_timeout = probe_timeout
        self._on_suspicion = on_suspicion
        self._on_silence = on_silence
        self._loop = asyncio.get_running_loop()
        self._has_answered = False
        self._unanswered_since: float | None = None
        self._waits: set[asyncio.Timeout] = set()
        """Those that end when the connection is given up."""
        self._uses = 0
        self._unused = asyncio.Event()
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._probing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def awaited(self, *, repeatable: bool) -> AsyncIterator[None]:
        """Wait for an answer in the block; SilentConnectionError when the connection is given up.

        A call that is not repeatable goes on waiting: its answer may come when the network heals,
        and nothing else says what became of the call.
        """
        wait = asyncio.timeout(None)
        try:
            with self.in_use():
                self._expect_answer()
                async with wait:
                    if repeatable:
                        self._waits.add(wait)
                    try:
                        yield
                    finally:
                        self._waits.discard(wait)
        except TimeoutError as error:
            if not wait.expired():
                raise
            raise SilentConnectionError(
                "the server answered nothing, not even a health check"
            ) from error
        except asyncio.CancelledError:
            # gRPC cancels the calls of a channel that is closed.
            if not self._closed or _is_being_cancelled():
                raise
            raise SilentConnectionError("the connection was closed meanwhile") from None
        self._answered()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the connection open for something in progress."""
        self._uses += 1
        try:
            yield
        finally:
            self._uses -= 1
            if not self._uses:
                self._unused.set()

    def abandon(self) -> None:
        """End the wait of `drain`: what is in progress fails."""
        self._closed = True
        self._unused.set()

    async def drain(self) -> None:
        """Close the connection once nothing is in progress on it."""
        while self._uses and not self._closed:
            self._unused.clear()
            await self._unused.wait()
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        await self.channel.close(None)

    def _expect_answer(self) -> None:
        if self._unanswered_since is None:
            self._unanswered_since = self._loop.time()
        if self._timer is None and self._probing is None:
            self._timer = self._loop.call_at(self._unanswered_since + self._pause, self._look)

    def _answered(self) -> None:
        self._has_answered = True
        self._pause = self._probe_after
        self._unanswered_since = self._loop.time() if self._uses else None

    def _look(self) -> None:
        """Probe the connection when no answer has come for the length of the pause."""
        self._timer = None
        if self._unanswered_since is None or self._closed:
            return
        if self._loop.time() < self._unanswered_since + self._pause:
            self._expect_answer()
        else:
            self._probing = self._loop.create_task(self._probe(), name="probe")

    async def _probe(self) -> None:
        """Send a health check, and give the connection up when it is not answered in time."""
        begun = self._loop.time()
        probe_timeout = self._probe_timeout.seconds(begun)
        method = self.channel.unary_unary(PROBE, None, None)
        call = method(b"", timeout=probe_timeout + LATE_SECONDS)
        try:
            with self.in_use():
                done = asyncio.Event()
                call.add_done_callback(lambda _: done.set())
                if not await self._is_answered(done, probe_timeout):
                    self._give_up(probe_timeout)
                code = await call.code()
        finally:
            call.cancel()
            self._probing = None
        if code not in _NO_ANSWER:
            # A broken connection is no answer of the server, but gRPC repairs it.
            if code is not grpc.StatusCode.UNAVAILABLE:
                took = self._loop.time() - begun
                self._probe_timeout.note(min(took, probe_timeout), self._loop.time())
            pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            self._answered()
            self._pause = pause
        if self._uses:
            self._expect_answer()

    async def _is_answered(self, done: asyncio.Event, probe_timeout: float) -> bool:
        """Whether the probe is answered in time; says early that it may not be."""
        least = min(self._probe_after, probe_timeout)
        if await completed(done, least):
            return True
        if probe_timeout <= least:
            return False
        # The server was slow before: what is another connection's experience?
        self._on_suspicion(self)
        return await completed(done, probe_timeout - least)

    def _give_up(self, probe_timeout: float) -> None:
        if not self._has_answered:
            # The server may only be slow.
            self._probe_timeout.note(probe_timeout, self._loop.time())
        self._on_silence(self, self._probe_after + probe_timeout)
        self.leave()

    @property
    def is_probed(self) -> bool:
        """Whether no answer has come for a while, and none to the health check yet."""
        return self._probing is not None and not self._closed

    async def answers_within(self, seconds: float) -> bool:
        """Whether the server answers a health check over it in that time."""
        method = self.channel.unary_unary(PROBE, None, None)
        with self.in_use():
            call = method(b"", timeout=seconds, wait_for_ready=True)
            try:
                code = await call.code()
            finally:
                call.cancel()
        return code not in _NO_ANSWER and code is not grpc.StatusCode.UNAVAILABLE

    def leave(self) -> None:
        """Fail the calls that may be repeated elsewhere."""
        waits, self._waits = self._waits, set()
        for wait in waits:
            wait.reschedule(self._loop.time())


async def completed(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event is set within that time, as far as this process was running.

    A process that was not scheduled cannot conclude that the other side is silent: the time is
    waited in slices, and one that took longer counts once.
    """
    for _ in range(SLICES):
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds / SLICES):
                await event.wait()
        if event.is_set():
            return True
    return False


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
