"""What a statement means: conditions on values, and what becomes of them."""

import enum
from dataclasses import dataclass
from typing import TypeAlias

from amaters.cli.formatting import text_or_base64


class Comparison(enum.Enum):
    """How a value is compared, in bytewise order."""

    EQ = "="
    GT = ">"
    LT = "<"
    GTE = ">="
    LTE = "<="


@dataclass(frozen=True, slots=True)
class Compare:
    """The value stands in that relation to these bytes."""

    comparison: Comparison
    operand: bytes
    column: str = "value"


@dataclass(frozen=True, slots=True)
class And:
    """Both."""

    left: "Condition"
    right: "Condition"


@dataclass(frozen=True, slots=True)
class Or:
    """At least one."""

    left: "Condition"
    right: "Condition"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    inner: "Condition"


Condition: TypeAlias = Compare | And | Or | Not

EVERYTHING = Compare(Comparison.GTE, b"")


class Operator(enum.Enum):
    """What an update does with each value."""

    SET = "="
    ADD = "+="
    MUL = "*="


@dataclass(frozen=True, slots=True)
class Assignment:
    """One step of an update."""

    operator: Operator
    operand: bytes
    column: str = "value"


@dataclass(frozen=True, slots=True)
class Filter:
    """Read the rows that match."""

    condition: Condition
    collection: str | None = None
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Update:
    """Change the rows that match."""

    assignments: tuple[Assignment, ...]
    condition: Condition
    collection: str | None = None


Statement: TypeAlias = Filter | Update


def shown(condition: Condition) -> str:
    """Return the condition as text that means the same."""
    match condition:
        case Compare(comparison, operand, column):
            return f"{column} {comparison.value} {literal(operand)}"
        case And(left, right):
            return f"({shown(left)} AND {shown(right)})"
        case Or(left, right):
            return f"({shown(left)} OR {shown(right)})"
        case Not(inner):
            return f"NOT {shown(inner)}"


def depth(condition: Condition) -> int:
    """Return how deep conditions are nested in it."""
    match condition:
        case Compare():
            return 1
        case And(left, right) | Or(left, right):
            return 1 + max(depth(left), depth(right))
        case Not(inner):
            return 1 + depth(inner)


def literal(value: bytes) -> str:
    """Return bytes as a statement has them."""
    text = text_or_base64(value)
    if text.encode() != value:
        return "0x" + value.hex()
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return "'" + escaped.replace("\n", "\\n").replace("\t", "\\t") + "'"
