"""Tests on values: a value is one run of bytes, compared in bytewise order."""

import operator
from collections.abc import Callable, Mapping
from typing import TypeAlias

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
