"""How loudly to tell that a member cannot be connected to. Pure.

Members seldom start in the same second, and one that is not up yet is no trouble: what is told
before the first connection is a warning only when it goes on. Later it is one at once.
"""

import logging

PATIENCE_SECONDS = 15.0
"""How long others may take to come up: longer than a process needs, shorter than a person's worry."""


class Trouble:
    """What has been told of one link, each kind of trouble once until it is over."""

    def __init__(self, born: float) -> None:
        self._quiet_until = born + PATIENCE_SECONDS
        self._told: tuple[str, int] | None = None

    def level(self, said: str, now: float) -> int | None:
        """Return the level to log it with; None when it has been told already."""
        level = logging.INFO if now < self._quiet_until else logging.WARNING
        if self._told == (said, level):
            return None
        self._told = (said, level)
        return level

    def over(self) -> None:
        """Hear that the link is up."""
        self._quiet_until, self._told = float("-inf"), None
