"""What a request's target names: the path in its parts, percent-decoded once each. Pure.

The path is split before it is decoded, so `%2F` is a slash within a collection or a key, and `%00`
to `%FF` are the bytes of a key. After the collection everything is the key, further slashes too.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from amaters_server.model.errors import MalformedError

COLLECTIONS = "/api/v1/collections/"
KEY_PATH = COLLECTIONS + "{collection}/{key}"
RANGE_PATH = COLLECTIONS + "{collection}"
_HALF = re.compile(r"%(?![0-9A-Fa-f]{2})")
HIGHEST = 2**32 - 1
"""Of a limit: what the wire holds."""


@dataclass(frozen=True, slots=True)
class Target:
    """A request's target."""

    path: str
    """As sent, or the path of the endpoint's description when it has parts."""
    collection: str = ""
    key: bytes = b""
    query: dict[str, bytes] = field(default_factory=dict)

    def limit(self) -> int | None:
        """Return the limit that the query names; MalformedError when it is none."""
        text = self.query.get("limit")
        if text is None:
            return None
        if not text.isdigit() or len(text) > len(str(HIGHEST)) or int(text) > HIGHEST:
            raise MalformedError(f"limit is no number from 0 to {HIGHEST}: write it in digits")
        return int(text)


def target_of(raw: str) -> Target:
    """Return what a request target names; MalformedError says what cannot be decoded."""
    path, _, query = raw.partition("#")[0].partition("?")
    parameters = _parameters(query)
    if not path.startswith(COLLECTIONS):
        return Target(path, query=parameters)
    name, slash, key = path.removeprefix(COLLECTIONS).partition("/")
    try:
        collection = _decoded(name).decode()
    except UnicodeDecodeError:
        raise MalformedError(
            "the collection is not UTF-8: percent-encode its UTF-8 bytes"
        ) from None
    if not slash:
        return Target(RANGE_PATH, collection, query=parameters)
    return Target(KEY_PATH, collection, _decoded(key), parameters)


def _decoded(text: str) -> bytes:
    if _HALF.search(text):
        raise MalformedError("a % without two hexadecimal digits: write a percent sign as %25")
    return unquote_to_bytes(text)


def _parameters(query: str) -> dict[str, bytes]:
    """Return the parameters as forms write them: `+` is a space, and %2B a plus."""
    found: dict[str, bytes] = {}
    for pair in query.split("&") if query else ():
        name, _, text = pair.partition("=")
        if name in found:
            raise MalformedError(f"the parameter {name[:64]!r} is sent twice: send it once")
        found[name] = _decoded(text.replace("+", " "))
    return found
