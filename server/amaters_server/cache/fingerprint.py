"""Names of questions; the only module that knows `blake3`."""

from collections.abc import Iterable


def fingerprint(parts: Iterable[bytes]) -> bytes:
    """Return 32 bytes that no other parts have; where one part ends is part of it."""
    # Only a server with the cache switched on needs it.
    from blake3 import blake3  # noqa: PLC0415

    digest = blake3()
    for one in parts:
        digest.update(len(one).to_bytes(8, "big"))
        digest.update(one)
    made: bytes = digest.digest()
    return made
