"""From predicate messages to tests on values: one run of bytes, compared in bytewise order.

A column's name says nothing here, because a stored value has no columns; it only has to be there,
as published.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from amaters.wire.types_pb2 import (
    AndPredicate,
    EqPredicate,
    GtePredicate,
    GtPredicate,
    LtePredicate,
    LtPredicate,
    OrPredicate,
    Predicate,
)

from amaters_server.machine.updates.arithmetic import LONGEST_PLAIN, ciphertext
from amaters_server.model.errors import MalformedError, MissingFieldError

MAX_DEPTH = 64
MOST_CONDITIONS = 1024
"""Comparisons in one predicate: each row may need all of them, and rows are looked at in slices."""
Test: TypeAlias = Callable[[bytes], bool]
"""Says whether a value's bytes match."""

COMPARISONS: Mapping[str, Callable[[bytes, bytes], bool]] = {
    "eq": operator.eq,
    "gt": operator.gt,
    "lt": operator.lt,
    "gte": operator.ge,
    "lte": operator.le,
}


def comparison(name: str, wanted: bytes) -> Test:
    """Compare with the wanted bytes; the name is one of COMPARISONS."""
    compare = COMPARISONS[name]
    return lambda data: compare(data, wanted)


def both(left: Test, right: Test) -> Test:
    """Match what both match."""
    return lambda data: left(data) and right(data)


def either(left: Test, right: Test) -> Test:
    """Match what at least one matches."""
    return lambda data: left(data) or right(data)


def negation(inner: Test) -> Test:
    """Match what the other does not."""
    return lambda data: not inner(data)


def require_plaintext(predicate: Predicate) -> None:
    """Pass if a sound predicate compares with plaintext values only; else ComputeError."""
    name = predicate.WhichOneof("predicate")
    inner = getattr(predicate, str(name))
    if name == "not":
        require_plaintext(inner.predicate)
    elif name in {"and", "or"}:
        require_plaintext(inner.left)
        require_plaintext(inner.right)
    elif len(inner.value.data) > LONGEST_PLAIN:
        raise ciphertext("a value of the predicate", len(inner.value.data))


def compiled(predicate: Predicate) -> Test:
    """Turn a predicate into a test; MissingFieldError names what it lacks."""
    return _compiled(predicate, 0, iter(range(MOST_CONDITIONS)))


def _compiled(predicate: Predicate, depth: int, room: Iterator[int]) -> Test:
    if depth > MAX_DEPTH:
        raise MalformedError(f"the predicate is nested more than {MAX_DEPTH} deep")
    match predicate.WhichOneof("predicate"):
        case "and":
            return both(*_sides(getattr(predicate, "and"), depth, room))
        case "or":
            return either(*_sides(getattr(predicate, "or"), depth, room))
        case "not":
            inner = getattr(predicate, "not")
            if not inner.HasField("predicate"):
                raise MissingFieldError("predicate")
            return negation(_compiled(inner.predicate, depth + 1, room))
        case None:
            raise MissingFieldError("predicate")
        case name:
            if next(room, None) is None:
                raise MalformedError(
                    f"the predicate has more than {MOST_CONDITIONS} comparisons: divide the query"
                )
            return _comparison(name, getattr(predicate, name))


def _sides(pair: AndPredicate | OrPredicate, depth: int, room: Iterator[int]) -> tuple[Test, Test]:
    if not pair.HasField("left"):
        raise MissingFieldError("left")
    if not pair.HasField("right"):
        raise MissingFieldError("right")
    return _compiled(pair.left, depth + 1, room), _compiled(pair.right, depth + 1, room)


def _comparison(
    name: str, message: EqPredicate | GtPredicate | LtPredicate | GtePredicate | LtePredicate
) -> Test:
    if not message.HasField("column"):
        raise MissingFieldError("column")
    if not message.HasField("value"):
        raise MissingFieldError("value")
    if not message.value.HasField("metadata"):
        raise MissingFieldError("metadata")
    return comparison(name, message.value.data)
