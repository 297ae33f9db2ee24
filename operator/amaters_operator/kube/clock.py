"""The API server's clock, read from the dates of its answers. Pure.

Every answer has a date in whole seconds, written between the request and its arrival. Each one
narrows down how far that clock is ahead of our monotonic one; a slow answer narrows it less. When
the clock was set, the next answer shows it.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from amaters_operator.kube.errors import ApiUnreachableError

_RESOLUTION_SECONDS = 1.0


def micro_time(moment: datetime) -> str:
    """Return a moment in UTC as Events and Leases carry it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class ServerClock:
    """The time by the API server."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ahead: float | None = None

    def observe(self, date: str | None, *, asked: float) -> None:
        """Use the Date header of an answer to a request that was sent at that moment."""
        if date is None:
            return
        try:
            shown = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        least = shown - self._monotonic()
        most = shown + _RESOLUTION_SECONDS - asked
        self._ahead = least if self._ahead is None else min(max(self._ahead, least), most)

    def now(self) -> datetime:
        """Return the time; ApiUnreachableError before the first answer."""
        if self._ahead is None:
            raise ApiUnreachableError(
                "the time of the Kubernetes API is not known: none of its answers had a Date header. "
                "A proxy between it and the operator must pass that header on"
            )
        return datetime.fromtimestamp(0, UTC) + timedelta(seconds=self._monotonic() + self._ahead)
