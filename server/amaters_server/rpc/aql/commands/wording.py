"""Errors of commands, in words that the published command line takes for errors.

It prints invented success, and exits with 0, when an error contains one of its signal words: it
believes then that no server is there.
"""

import re

from amaters_server.model.errors import DatabaseError
from amaters_server.rpc.transport.status import RewordedError, wire_of

_INSTEAD = {
    "not implemented": "not offered",
    "unimplemented": "not offered",
    "empty response": "response without content",
    "connections": "links",
    "connection": "link",
    "transport": "network layer",
    "unavailable": "not ready",
    "refused": "rejected",
    "timed out": "took too long",
    "timeout": "time limit",
}
"""The published signal words, longer ones before those that they contain."""
_SIGNALS = re.compile("|".join(map(re.escape, _INSTEAD)), re.IGNORECASE)


def worded(error: DatabaseError) -> DatabaseError:
    """Return the error, in other words where its own would be misunderstood; the code stays."""
    text = f"{wire_of(error).prefix}{error}"
    if _SIGNALS.search(text) is None:
        return error
    return RewordedError(error, without_signals(text))


def without_signals(text: str) -> str:
    """Return the text with other words for the signal words."""
    return _SIGNALS.sub(lambda found: _INSTEAD[found[0].lower()], text)
