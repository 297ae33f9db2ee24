"""Keys as bytes, and the ranges that cover a prefix. Pure."""

from amaters.values import KeyLike

END_OF_KEYS = b"\xff" * 256
"""The exclusive end that servers of this protocol take for "all keys": greater than every key
that does not itself begin with 256 bytes of 0xFF."""


def as_bytes(key: KeyLike) -> bytes:
    """Return the key's bytes; text is taken as UTF-8. TypeError for anything else."""
    if isinstance(key, str):
        return key.encode()
    try:
        # Not bytes(key) alone: of the number 3 that makes three zero bytes.
        return bytes(memoryview(key))
    except TypeError:
        raise TypeError(f"a key is text or bytes, not {type(key).__name__}: {key!r}") from None


def after(key: bytes) -> bytes:
    """Return the smallest key greater than this one."""
    return key + b"\x00"


def prefix_end(prefix: bytes) -> bytes:
    """Return the exclusive end of the range of keys that begin with the prefix."""
    trimmed = prefix.rstrip(b"\xff")
    if not trimmed:
        return END_OF_KEYS
    return trimmed[:-1] + bytes([trimmed[-1] + 1])
