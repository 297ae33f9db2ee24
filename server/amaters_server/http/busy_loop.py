"""Liveness while the event loop is busy: a thread answers on the same sockets until it goes on.

A probe that waits for a long turn of the loop would have a node restarted that only needs a moment.
The thread does nothing but look at the clock as long as the loop is on time.
"""

import asyncio
import json
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

_log = logging.getLogger(__name__)

BEAT_SECONDS = 0.2
BUSY_SECONDS = 0.5
"""Without a beat of the loop for so long, the thread answers."""
STUCK_SECONDS = 60.0
"""A loop that is busy for longer will not go on by itself."""
READ_SECONDS = 0.1
"""For the first line of a request: probes send it at once."""
LONGEST_REQUEST = 4096
LIVENESS = {b"/livez", b"/healthz"}


class BusyLoopAnswers:
    """Answers for one event loop. All methods but `_run` and what it calls belong to the loop."""

    def __init__(self, report: Callable[..., Mapping[str, object]]) -> None:
        """`report(alive=...)` is the page, and is called in the thread."""
        self._report = report
        self._doors: Sequence[socket.socket] = ()
        self._beat = time.monotonic()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="amaters-liveness", daemon=True)
        self._timer: asyncio.TimerHandle | None = None

    def start(self, doors: Sequence[socket.socket]) -> None:
        """Begin with these listening sockets; they must stay open until `close` returns."""
        self._doors = doors
        self._beat_on()
        self._thread.start()

    def close(self) -> None:
        """End the thread; it takes a moment."""
        self._ending.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread.is_alive():
            self._thread.join()

    def _beat_on(self) -> None:
        self._beat = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat_on)

    # --- the thread -----------------------------------------------------------

    def _run(self) -> None:
        while not self._ending.wait(BEAT_SECONDS):
            longest = 0.0
            while (busy := time.monotonic() - self._beat) > BUSY_SECONDS:
                longest = busy
                if self._ending.is_set():
                    return
                self._answer_waiting(busy)
            if longest:
                _log.warning("loop.busy", extra={"seconds": round(longest, 3)})

    def _answer_waiting(self, busy: float) -> None:
        waiting = select.poll()
        by_number = {door.fileno(): door for door in self._doors}
        for number in by_number:
            waiting.register(number, select.POLLIN)
        for number, _ in waiting.poll(1000 * READ_SECONDS):
            # It may have gone, or the loop was faster; without a descriptor the next one may work.
            with suppress(OSError):
                connection, _ = by_number[number].accept()
                with connection:
                    connection.settimeout(READ_SECONDS)
                    self._answer(connection, busy)

    def _answer(self, connection: socket.socket, busy: float) -> None:
        words = _first_line(connection).split()
        if len(words) > 1 and words[1] in LIVENESS:
            alive = busy < STUCK_SECONDS
            page = dict(self._report(alive=alive))
        else:
            alive = False
            page = {"error": f"the event loop has been busy for {busy:.1f} s: ask again"}
        status = b"200 OK" if alive else b"503 Service Unavailable"
        body = json.dumps(page, separators=(",", ":")).encode()
        head = (
            b"HTTP/1.1 %b\r\nContent-Type: application/json; charset=utf-8\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(head % (status, len(body)) + (b"" if words[:1] == [b"HEAD"] else body))
        connection.shutdown(socket.SHUT_WR)
        # Closing with bytes unread would reset the connection, and with it the answer.
        while connection.recv(LONGEST_REQUEST):
            pass


def _first_line(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n" not in received and len(received) < LONGEST_REQUEST:
        more = connection.recv(LONGEST_REQUEST)
        if not more:
            break
        received += more
    return received.partition(b"\r\n")[0]
