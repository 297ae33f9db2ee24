"""64-bit FNV checksums (see checksum.pyi for the promises)."""

from amaters_native._native import FNV_OFFSET_BASIS, fnv1_64, fnv1a64

__all__ = ["FNV_OFFSET_BASIS", "fnv1_64", "fnv1a64"]
