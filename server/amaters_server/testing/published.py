"""Backups as AmateRS writes them, made to the published description alone."""

from collections.abc import Iterable, Sequence
from pathlib import Path

Pair = tuple[bytes, bytes]


def number(value: int) -> bytes:
    """Encode a number in its smallest form."""
    for most, mark, width in ((250, b"", 1), (2**16, b"\xfb", 2), (2**32, b"\xfc", 4)):
        if value <= most and value < 1 << 8 * width:
            return mark + value.to_bytes(width, "little")
    return b"\xfd" + value.to_bytes(8, "little")


def manifest(pairs: Sequence[Pair]) -> bytes:
    """Return `manifest.bin`."""
    strings: Iterable[bytes] = (one for pair in pairs for one in pair)
    return number(len(pairs)) + b"".join(number(len(one)) + one for one in strings)


def meta(pairs: Sequence[Pair], *, schema: int = 1, kind: int = 0) -> bytes:
    """Return `meta.bin`."""
    total = sum(len(value) for _, value in pairs)
    return b"".join(map(number, (schema, len(pairs), total, kind)))


def write_backup(folder: Path, pairs: Sequence[Pair]) -> Path:
    """Write both files into the folder, which is made; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.bin").write_bytes(meta(pairs))
    (folder / "manifest.bin").write_bytes(manifest(pairs))
    return folder
