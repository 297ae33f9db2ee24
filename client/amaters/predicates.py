r"""Which rows a filter or an update is about, and what an update makes of their values.

    from amaters import Change, Where

    Where.gte(b"\x05") & ~Where.eq(b"\x09")
    Change.add(b"\x01"), Change.set(b"sold")

Values are compared in bytewise order. A stored value is one run of bytes, so columns have no meaning
to the server; their names travel along.
"""

import enum
from dataclasses import dataclass
from typing import Self


class Condition(enum.Enum):
    """The names of the wire."""

    EQ = "eq"
    GT = "gt"
    LT = "lt"
    GTE = "gte"
    LTE = "lte"
    AND = "and"
    OR = "or"
    NOT = "not"


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on values; joined with `&` and `|`, and turned round with `~`."""

    kind: Condition
    value: bytes = b""
    parts: "tuple[Where, ...]" = ()
    column: str = "value"

    @classmethod
    def eq(cls, value: bytes, *, column: str = "value") -> Self:
        """Match values that are equal."""
        return cls(Condition.EQ, value, column=column)

    @classmethod
    def gt(cls, value: bytes, *, column: str = "value") -> Self:
        """Match values above this one."""
        return cls(Condition.GT, value, column=column)

    @classmethod
    def lt(cls, value: bytes, *, column: str = "value") -> Self:
        """Match values below this one."""
        return cls(Condition.LT, value, column=column)

    @classmethod
    def gte(cls, value: bytes, *, column: str = "value") -> Self:
        """Match this value and those above it."""
        return cls(Condition.GTE, value, column=column)

    @classmethod
    def lte(cls, value: bytes, *, column: str = "value") -> Self:
        """Match this value and those below it."""
        return cls(Condition.LTE, value, column=column)

    @classmethod
    def everything(cls) -> Self:
        """Match every value."""
        return cls(Condition.GTE)

    def __and__(self, other: "Where") -> "Where":
        return Where(Condition.AND, parts=(self, other))

    def __or__(self, other: "Where") -> "Where":
        return Where(Condition.OR, parts=(self, other))

    def __invert__(self) -> "Where":
        return Where(Condition.NOT, parts=(self,))

    def __bool__(self) -> bool:
        # `and`, `or` and `not` would silently leave one side out.
        raise TypeError("join conditions with & and |, and turn them round with ~")


class ChangeKind(enum.Enum):
    """The names of the wire."""

    SET = "set"
    ADD = "add"
    MUL = "mul"


@dataclass(frozen=True, slots=True)
class Change:
    """One step of an update."""

    kind: ChangeKind
    value: bytes
    column: str = "value"

    @classmethod
    def set(cls, value: bytes, *, column: str = "value") -> Self:
        """Replace the whole value."""
        return cls(ChangeKind.SET, value, column)

    @classmethod
    def add(cls, value: bytes, *, column: str = "value") -> Self:
        """Add to each byte for itself: 255 + 1 is 0. The shorter side is padded with 0."""
        return cls(ChangeKind.ADD, value, column)

    @classmethod
    def mul(cls, value: bytes, *, column: str = "value") -> Self:
        """Multiply each byte for itself, modulo 256. The shorter side is padded with 1."""
        return cls(ChangeKind.MUL, value, column)
