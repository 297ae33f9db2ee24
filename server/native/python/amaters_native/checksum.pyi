"""64-bit FNV checksums. Pure: bytes in, an integer out.

Both functions release the GIL while they work on large buffers.
"""

from typing import Final

from typing_extensions import Buffer

__all__ = ["FNV_OFFSET_BASIS", "fnv1_64", "fnv1a64"]

FNV_OFFSET_BASIS: Final[int]
"""0xcbf29ce484222325, the checksum of nothing and the state to begin with."""

def fnv1a64(data: Buffer, state: int = ...) -> int:
    """Return the FNV-1a checksum of `data`, continued from `state`.

    Feeding a file in pieces, each with the previous answer as `state`, gives the checksum
    of the whole. `data` is any contiguous buffer; `ValueError` if it is not contiguous.
    """

def fnv1_64(data: Buffer, state: int = ...) -> int:
    """Return the FNV-1 checksum (multiply, then xor) of `data`, continued from `state`."""
