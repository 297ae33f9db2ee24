"""Which volumes are to grow. Pure."""

from collections.abc import Mapping
from decimal import Decimal

_UNITS = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


def amount(quantity: str) -> Decimal:
    """Return a Kubernetes quantity as a number; ValueError for what is none."""
    text = quantity.strip()
    for unit, power in _BINARY.items():
        if text.endswith(unit):
            return Decimal(text.removesuffix(unit)) * Decimal(1024) ** power
    if text.endswith("m"):
        return Decimal(text.removesuffix("m")) / 1000
    unit = text[-1:] if text[-1:] in _UNITS else ""
    try:
        return Decimal(text.removesuffix(unit)) * Decimal(10) ** _UNITS[unit]
    except ArithmeticError as error:
        raise ValueError(f"{quantity!r} is not a quantity: write for example 10Gi") from error


def too_small(wanted: str, requested: Mapping[str, str]) -> list[str]:
    """Return the claims, by name, that ask for less than what is wanted."""
    least = amount(wanted)
    return sorted(name for name, size in requested.items() if amount(size) < least)
