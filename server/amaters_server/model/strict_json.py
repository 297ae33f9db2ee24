"""JSON that all readers understand alike.

Python's reader takes the last of two equal names, NaN, and UTF-16. Another reader of the same
document may take the first name, and two that disagree about one document can be played off against
each other.
"""

import json


def parsed(document: bytes | str) -> object:
    """Return the document; ValueError if it is not UTF-8, ambiguous, or nested too deep."""
    text = document.decode() if isinstance(document, bytes) else document
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the name {twice[:64]!r} twice")
    return found


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")
