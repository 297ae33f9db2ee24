"""The checksums of the backup file; the only door to `amaters_native.checksum`.

Published servers write one of two FNV variants, and it is not known which; we write
FNV-1a, accept both and say which one matched.
"""

import enum
from collections.abc import Callable, Iterable

from amaters_native.checksum import FNV_OFFSET_BASIS, fnv1_64, fnv1a64


class Variant(enum.Enum):
    """Which checksum a backup file carries."""

    FNV1A = "fnv-1a"
    FNV1 = "fnv-1"


def matching(pieces: Callable[[], Iterable[bytes]], expected: int) -> Variant | None:
    """Return the variant that gives the expected checksum over the pieces, or None.

    Walks the pieces again for the second variant; other threads run meanwhile.
    """
    for variant, add in ((Variant.FNV1A, fnv1a64), (Variant.FNV1, fnv1_64)):
        checksum = FNV_OFFSET_BASIS
        for piece in pieces():
            checksum = add(piece, checksum)
        if checksum == expected:
            return variant
    return None


def fnv1a(piece: bytes, before: int = FNV_OFFSET_BASIS) -> int:
    """Return the FNV-1a checksum of the piece, continued from what came before it."""
    return fnv1a64(piece, before)
