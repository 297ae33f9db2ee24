"""What an update makes of a value's bytes, as published: they wrap, and the shorter side is padded.

Pure, and the same on all members. A set replaces the whole value; what is computed gets metadata of
its own.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias
from zlib import crc32

from amaters.wire.types_pb2 import CipherBlob, CipherMetadata, Update
from google.protobuf.message import DecodeError

from amaters_server.model.errors import MalformedError, MissingFieldError
from amaters_server.model.update_errors import ComputeError

LONGEST_PLAIN = 64
"""Bytes of a plaintext value; a longer one is taken for an FHE ciphertext, as published."""

MOST_CHANGES = 256
"""Of one update: each row needs all of them, and rows are looked at in slices."""

_DATA = b"\x0a"
"""The tag that a serialized CipherBlob with any data begins with."""
_LONGER = b"\x80"
"""From here on, the first byte of a length says that more follow."""

Change: TypeAlias = Callable[[bytes], bytes]
"""From a value's bytes to its new ones."""

_PRODUCTS = [bytes(one * other & 255 for one in range(256)) for other in range(256)]
"""For every byte, what each byte becomes times it."""
_LOW = [int.from_bytes(b"\x7f" * size) for size in range(LONGEST_PLAIN + 1)]
_HIGH = [int.from_bytes(b"\x80" * size) for size in range(LONGEST_PLAIN + 1)]
"""All but the highest bit of every byte, and the highest bit of every byte."""


class Updates:
    """Updates made one after the other on one value."""

    def __init__(self, messages: Sequence[bytes], *, created_at: int) -> None:
        """Raise MissingFieldError, MalformedError or ComputeError for what makes no sense."""
        require_few(len(messages))
        self._made = maker(created_at)
        self._set: bytes | None = None
        """The value of the last set, as it is stored, when nothing is computed after it."""
        self._base: bytes | None = None
        """The bytes of the last set, when something is."""
        self._changes: list[Change] = []
        for message in messages:
            self._add(_parsed(message))

    @property
    def computes(self) -> bool:
        """Whether it computes with the values that are stored."""
        return self._set is None and self._base is None

    def stored(self, data: bytes) -> bytes:
        """Return the new value of those bytes, as it is stored."""
        if self._set is not None:
            return self._set
        if self._base is not None:
            data = self._base
        for change in self._changes:
            data = change(data)
        return self._made(data)

    def _add(self, update: Update) -> None:
        kind, operand = operand_of(update)
        if kind == "set":
            self._set, self._base, self._changes = operand.SerializeToString(), None, []
            return
        _require_plain(operand, f"the operand of {kind}")
        if self._set is not None:
            base = CipherBlob.FromString(self._set)
            _require_plain(base, f"the value before {kind}")
            self._set, self._base = None, base.data
        self._changes.append(adding(operand.data) if kind == "add" else multiplying(operand.data))


def require_few(changes: int) -> None:
    """Pass if an update makes no more changes than it may; else MalformedError."""
    if changes > MOST_CHANGES:
        raise MalformedError(
            f"an update makes {changes} changes, and may make {MOST_CHANGES}: divide it"
        )


def operand_of(update: Update) -> tuple[str, CipherBlob]:
    """Return the kind of an update and its value; MissingFieldError names what it lacks."""
    kind = update.WhichOneof("operation")
    if kind is None:
        raise MissingFieldError("operation")
    inner = getattr(update, kind)
    for name, holder in (("column", inner), ("value", inner), ("metadata", inner.value)):
        if not holder.HasField(name):
            raise MissingFieldError(name)
    return kind, inner.value


def adding(operand: bytes) -> Change:
    """Return what adds those bytes to the first bytes of a plaintext value, each for itself."""
    length = len(operand)
    padded: dict[int, int] = {}  # As rows need it: thousands of changes may meet few rows.

    def change(data: bytes) -> bytes:
        size = max(len(data), length)
        if size not in padded:
            padded[size] = int.from_bytes(operand.ljust(size, b"\0"))
        low, one, other = _LOW[size], int.from_bytes(data.ljust(size, b"\0")), padded[size]
        # No carry leaves its byte: the highest bits are added without one.
        return ((one & low) + (other & low) ^ (one ^ other) & _HIGH[size]).to_bytes(size)

    return change


def multiplying(operand: bytes) -> Change:
    """Return what multiplies the first bytes of a value with those, each for itself."""
    tables, length = [_PRODUCTS[one] for one in operand], len(operand)

    def change(data: bytes) -> bytes:
        product = bytes([table[one] for table, one in zip(tables, data, strict=False)])
        size = len(data)
        return product + (data[length:] if size > length else operand[size:])

    return change


def maker(created_at: int) -> Change:
    """Return what makes plaintext bytes a value of the server, as it is stored."""
    tail = CipherMetadata(created_at=created_at).SerializeToString()

    def made(data: bytes) -> bytes:
        """Write by hand what takes five times as long with the generated classes."""
        size, checksum = len(data), crc32(data)
        if not size or not checksum:
            metadata = CipherMetadata(size=size, checksum=checksum, created_at=created_at)
            return CipherBlob(data=data, metadata=metadata).SerializeToString()
        facts = b"\x08%c\x18%b%b" % (size, varint(checksum), tail)
        return b"\x0a%c%b\x12%c%b" % (size, data, len(facts), facts)

    return made


def varint(number: int) -> bytes:
    """Encode a number of 1 to 2**32 - 1."""
    if number >> 28:
        return bytes(
            (
                number & 127 | 128,
                number >> 7 & 127 | 128,
                number >> 14 & 127 | 128,
                number >> 21 & 127 | 128,
                number >> 28,
            )
        )
    encoded = bytearray()
    while number > 127:  # noqa: PLR2004
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def data_of(stored: bytes) -> bytes:
    """Return the bytes of a stored value: a serialized CipherBlob, in the order of its fields."""
    if stored[:1] == _DATA and stored[1:2] < _LONGER:
        return stored[2 : 2 + stored[1]]
    return _blob(stored).data


def is_compressed(stored: bytes) -> bool:
    """Whether the label of a stored plaintext value says that it is compressed."""
    at = 4 + stored[1] if stored[:1] == _DATA else 2
    if stored[at : at + 1] == b"\x08" and stored[at + 1 : at + 2] < _LONGER:
        return stored[at + 2 : at + 3] == b"\x10"
    return bool(_blob(stored).metadata.compression)


def _blob(stored: bytes) -> CipherBlob:
    try:
        return CipherBlob.FromString(stored)
    except DecodeError as wrong:
        raise ComputeError("a stored value is no CipherBlob: set it again") from wrong


def ciphertext(what: str, size: int) -> ComputeError:
    """Return the error for bytes that are taken for an FHE ciphertext."""
    return ComputeError(
        f"{what} has {size} bytes, and more than {LONGEST_PLAIN} are taken for an FHE ciphertext, "
        "which this server does not compute with: nothing was changed; read the values, and set new "
        "ones in a batch"
    )


def compressed(what: str) -> ComputeError:
    """Return the error for a value that its writer has compressed."""
    return ComputeError(
        f"{what} is labelled as compressed, and sums of compressed bytes mean nothing: nothing was "
        "changed; read the values, and set new ones in a batch"
    )


def _require_plain(blob: CipherBlob, what: str) -> None:
    if len(blob.data) > LONGEST_PLAIN:
        raise ciphertext(what, len(blob.data))
    if blob.metadata.compression:
        raise compressed(what)


def _parsed(message: bytes) -> Update:
    try:
        return Update.FromString(message)
    except DecodeError as wrong:
        raise MalformedError("this is no Update") from wrong
