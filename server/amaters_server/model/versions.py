"""Versions of the server: compared as numbers, written as text."""

Version = tuple[int, int, int]
UNKNOWN: Version = (0, 0, 0)
"""Of a member that has not connected yet; older than all others."""


def dotted(version: Version) -> str:
    """Return the version as people write it."""
    return ".".join(str(part) for part in version)


def parsed(text: str) -> Version:
    """Return the version that the text names; `UNKNOWN` when it names none."""
    parts = text.split(".")
    if len(parts) != len(UNKNOWN) or not all(part.isdecimal() for part in parts):
        return UNKNOWN
    return int(parts[0]), int(parts[1]), int(parts[2])
