"""The LZ4 frame inside a backup file; the only module that knows `lz4`.

Published readers want the content's size in the frame's header, which a stream only knows at its
end. So room is left for the header, which is filled in last.
"""

from collections.abc import Iterable, Iterator

import lz4.block
import lz4.frame

from amaters_server.model.errors import SnapshotError

MAGIC = b"\x04\x22\x4d\x18"
HEADER_BYTES = 15
"""Of a frame with its content's size."""
_PIECE = 1024 * 1024
# Zero is the library's word for an unknown size, so this header is spelt out.
_EMPTY_HEADER = MAGIC + b"\x48\x50" + bytes(8) + b"\x9a"
_MOST_RAW_BYTES = 1024 * 1024 * 1024


class FrameWriter:
    """Compresses a stream; its header comes last."""

    def __init__(self) -> None:
        self._compressor = _compressor()
        self._compressor.begin()
        self.content_size = 0

    def compress(self, piece: bytes) -> bytes:
        """Take the next piece of the content; returns what to write, perhaps nothing yet."""
        self.content_size += len(piece)
        compressed: bytes = self._compressor.compress(piece)
        return compressed

    def finish(self) -> bytes:
        """End the content; returns the last bytes to write."""
        last: bytes = self._compressor.flush()
        return last

    def header(self) -> bytes:
        """Return the frame's header, with the size of what was compressed."""
        if self.content_size == 0:
            return _EMPTY_HEADER
        header: bytes = _compressor().begin(source_size=self.content_size)
        return header


def _compressor() -> lz4.frame.LZ4FrameCompressor:
    return lz4.frame.LZ4FrameCompressor(block_size=lz4.frame.BLOCKSIZE_MAX256KB)


def decompress(pieces: Iterable[bytes], *, name: str, original_size: int) -> Iterator[bytes]:
    """Decompress a payload; a frame, or the raw block that older writers may have left.

    SnapshotError when it is damaged or does not give exactly `original_size` bytes.
    """
    stream = iter(pieces)
    start = next(stream, b"")
    if start.startswith(MAGIC):
        content = _frame(start, stream, name)
    else:
        content = _block(start, stream, name, original_size)
    size = 0
    for piece in content:
        size += len(piece)
        if size > original_size:
            break
        yield piece
    if size != original_size:
        raise SnapshotError(
            f"{name} does not hold the {original_size} bytes that its header says: choose "
            "another backup"
        )


def _frame(start: bytes, stream: Iterator[bytes], name: str) -> Iterator[bytes]:
    decompressor = lz4.frame.LZ4FrameDecompressor()
    piece: bytes | None = start
    try:
        while piece is not None and not decompressor.eof:
            yield decompressor.decompress(piece, max_length=_PIECE)
            while not decompressor.eof and not decompressor.needs_input:
                yield decompressor.decompress(b"", max_length=_PIECE)
            piece = next(stream, None)
    except RuntimeError as error:
        raise _damaged(name, str(error)) from error
    if not decompressor.eof:
        raise _damaged(name, "its frame is cut off")
    if decompressor.unused_data or piece is not None:
        raise _damaged(name, "something follows its frame")


def _block(start: bytes, stream: Iterator[bytes], name: str, size: int) -> Iterator[bytes]:
    if size > _MOST_RAW_BYTES:
        raise _damaged(name, f"it is no LZ4 frame, and {size} bytes are too many for a raw block")
    try:
        yield lz4.block.decompress(start + b"".join(stream), uncompressed_size=size)
    except lz4.block.LZ4BlockError as error:
        raise _damaged(name, f"neither LZ4 frame nor block: {error}") from error


def _damaged(name: str, how: str) -> SnapshotError:
    return SnapshotError(f"{name} does not decompress ({how}): choose another backup")
