"""The checksums of the snapshot file; the only door to `amaters_native.checksum`.

Published servers write one of two FNV variants, and nobody knows for certain which; we write
FNV-1a, accept both and say which one matched.
"""

import enum

from amaters_native.checksum import FNV_OFFSET_BASIS, fnv1_64, fnv1a64


class Variant(enum.Enum):
    """Which checksum a snapshot file carries."""

    FNV1A = "fnv-1a"
    FNV1 = "fnv-1"


class BothChecksums:
    """Both variants over the same bytes, fed in pieces."""

    def __init__(self) -> None:
        self.fnv1a = FNV_OFFSET_BASIS
        self.fnv1 = FNV_OFFSET_BASIS

    def feed(self, piece: bytes) -> None:
        """Take the next piece; lets other threads run meanwhile."""
        self.fnv1a = fnv1a64(piece, self.fnv1a)
        self.fnv1 = fnv1_64(piece, self.fnv1)

    def matching(self, expected: int) -> Variant | None:
        """Return the variant that gives the expected checksum, or None."""
        if expected == self.fnv1a:
            return Variant.FNV1A
        return Variant.FNV1 if expected == self.fnv1 else None


def fnv1a(piece: bytes, before: int = FNV_OFFSET_BASIS) -> int:
    """Return the FNV-1a checksum of the piece, continued from what came before it."""
    return fnv1a64(piece, before)
