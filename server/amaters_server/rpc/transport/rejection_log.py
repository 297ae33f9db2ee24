"""Logs, at most once a minute, that connections of clients were refused, and what to do about it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from amaters_server.telemetry.counters import Traffic

_log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
SILENCE_SECONDS = 60.0
"""Between two lines at least: a host that is turned away usually tries again at once."""


@dataclass(slots=True)
class RejectionLog:
    """Which refusals have been logged. Pure."""

    logged: int = 0
    logged_at: float = float("-inf")

    def news(self, refused: int, now: float) -> int:
        """Return how many refusals to log now; 0 when there are none or it is too soon."""
        fresh = refused - self.logged
        if fresh <= 0 or now - self.logged_at < SILENCE_SECONDS:
            return 0
        self.logged, self.logged_at = refused, now
        return fresh


async def log_rejections(traffic: Callable[[], Traffic]) -> None:
    """Look until cancelled, and log what has been refused."""
    hosts, table, loop = RejectionLog(), RejectionLog(), asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        counted = traffic()
        log_connections(hosts, counted, loop.time())
        log_descriptors(table, counted, loop.time())


def log_connections(log: RejectionLog, counted: Traffic, now: float) -> None:
    """Log what is new, if it is time for it."""
    fresh = log.news(counted.rejected_per_client, now)
    if fresh:
        _log.warning(
            "client.turned_away",
            extra={
                "last_address": counted.last_rejected_client,
                "connections": fresh,
                "reason": "its address has resource_limits.max_connections_per_client already: "
                "share connections there, or raise the limit when many clients share the address",
            },
        )


def log_descriptors(log: RejectionLog, counted: Traffic, now: float) -> None:
    """Log that few descriptors are left, if that is new and it is time for it."""
    fresh = log.news(counted.rejected_for_descriptors, now)
    if fresh:
        _log.warning(
            "process.few_descriptors",
            extra={
                "connections_refused": fresh,
                "reason": "those that are left are for members, probes and the database's files: "
                "raise the limit of open files (ulimit -n), or lower server.max_connections",
            },
        )
