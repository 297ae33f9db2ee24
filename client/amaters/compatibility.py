"""Which versions work with a server: the one table that servers, operator and documents read. Pure.

Versions are compared by major and minor. Members need the same major, and both a minor from the
oldest on. A client needs the server's major at least, and in it a minor from the oldest on: newer
clients work with older servers.
"""

from typing import Final

OLDEST_MEMBER_MINOR: Final = 2
"""Members of this minor and of newer ones work together."""

OLDEST_CLIENT_MINOR: Final = 2
"""Clients of this minor and of newer ones work with every server of the same major."""


def members_fit(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether members of two versions, by major and minor, work together."""
    return one[0] == other[0] and min(one[1], other[1]) >= OLDEST_MEMBER_MINOR


def oldest_client(server: tuple[int, int]) -> tuple[int, int]:
    """Return the oldest version of a client, by major and minor, that a server works with."""
    return server[0], OLDEST_CLIENT_MINOR
