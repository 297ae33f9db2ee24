"""At which level to log that a member cannot be connected to. Pure.

Members seldom start in the same second, and one that is not up yet is no failure: before the first
connection a failure is a warning only when it lasts. Later it is one at once.
"""

import logging

STARTUP_SECONDS = 15.0
"""How long others may take to come up: longer than a process needs, shorter than an alert waits."""


class LinkLog:
    """What was logged of one link, each kind of failure once until it is over."""

    def __init__(self, born: float) -> None:
        self._quiet_until = born + STARTUP_SECONDS
        self._logged: tuple[str, int] | None = None

    def level(self, reason: str, now: float) -> int | None:
        """Return the level to log it with; None when it was logged already."""
        level = logging.INFO if now < self._quiet_until else logging.WARNING
        if self._logged == (reason, level):
            return None
        self._logged = (reason, level)
        return level

    def connected(self) -> None:
        """Log the next failure again: the link is up."""
        self._quiet_until, self._logged = float("-inf"), None
