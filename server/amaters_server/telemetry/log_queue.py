"""Takes log records from any thread without waiting, and writes them in a thread of its own.

A log disk that is slow or full, or a terminal that is not read, must not hold up the event loop.
The queue is bounded: what does not fit is dropped, counted, and reported once there is room again.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from typing_extensions import override

from amaters_server.telemetry.correlation import current
from amaters_server.telemetry.request_log import REQUESTS
from amaters_server.telemetry.throttle import EventThrottle

QUEUED_RECORDS = 4096
FLUSH_SECONDS = 2.0
"""How long the end of the process waits for an output that does not take its lines."""
IDLE_SECONDS = 1.0
"""How often the writer looks for counts to report while nothing is logged."""

Facts = Callable[[], Mapping[str, object]]
"""Fields that every record gets: which node, which term."""

_OWN = "amaters"
_SUPPRESSED = "log.suppressed"
_DROPPED = "log.dropped"
_log = logging.getLogger(__name__)


def _event(record: logging.LogRecord) -> str:
    """Return what has an allowance of lines: a library's texts may differ with every line."""
    return str(record.msg) if record.name.startswith(_OWN) else record.name


class LogQueue(logging.Handler):
    """The root logger's only handler: throttles, keeps the ring, queues for the outputs."""

    def __init__(
        self,
        ring: logging.Handler,
        throttle: EventThrottle,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.facts: Facts = dict
        self._ring = ring
        self._throttle = throttle
        self._clock = clock
        self._outputs: Sequence[logging.Handler] = ()
        self._retired: list[logging.Handler] = []
        self._queue: queue.Queue[logging.LogRecord | None] = queue.Queue(QUEUED_RECORDS)
        self._dropped = 0
        self._writer = threading.Thread(target=self._write, name="log-writer", daemon=True)

    def write_to(self, outputs: Sequence[logging.Handler]) -> None:
        """Write to these from now on; the writer closes those of before."""
        self._retired.extend(self._outputs)
        self._outputs = outputs
        if not self._writer.is_alive():
            self._writer.start()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Queue one record, or count it; never waits."""
        is_request = record.name == REQUESTS.name
        # Below INFO the operator debugs and wants every line.
        if record.levelno >= logging.INFO and not is_request:
            suppressed = self._throttle.admit(_event(record), self._clock())
            if suppressed is None:
                return
            if suppressed:
                record.__dict__["suppressed"] = suppressed
        for name, value in self.facts().items():
            record.__dict__.setdefault(name, value)
        request = current()
        if request:
            record.__dict__.setdefault("request_id", request)
        if not is_request:  # They have a ring of their own.
            self._ring.handle(record)
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    @override
    def flush(self) -> None:
        """Wait until everything is written, for `FLUSH_SECONDS` at most."""
        self.is_written()

    def is_written(self) -> bool:
        """Whether everything is written, after `FLUSH_SECONDS` at most."""
        done = self._queue.all_tasks_done
        with done:
            return done.wait_for(lambda: not self._queue.unfinished_tasks, FLUSH_SECONDS)

    @override
    def close(self) -> None:
        """Write what is queued, then end the writer; an output that takes nothing is left."""
        self.flush()
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        if self._writer.is_alive():
            self._writer.join(FLUSH_SECONDS)
        if not self._writer.is_alive():
            for output in (*self._retired, *self._outputs):
                output.close()
        super().close()

    def _write(self) -> None:
        while True:
            try:
                record = self._queue.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self._report()
                continue
            try:
                if record is None:
                    return
                self._put_out(record)
            finally:
                self._queue.task_done()

    def _put_out(self, record: logging.LogRecord) -> None:
        while self._retired:
            self._retired.pop().close()
        for output in self._outputs:
            output.handle(record)
        if self._dropped and self._queue.empty():
            self._report()

    def _report(self) -> None:
        """Log what was suppressed or dropped and has not been reported."""
        dropped, self._dropped = self._dropped, 0
        if dropped:
            reason = "the log's outputs did not take lines as fast as they came"
            _log.warning(_DROPPED, extra={"records": dropped, "reason": reason})
        self.acquire()
        try:
            overdue = self._throttle.overdue(self._clock())
        finally:
            self.release()
        for event, records in overdue:
            _log.warning(_SUPPRESSED, extra={"of_event": event, "records": records})
