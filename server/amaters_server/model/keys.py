"""Keys of the data keyspace: a length prefix isolates the collections.

A data key is `len(collection)` as two big-endian bytes, the collection in UTF-8, then the
caller's key. So the keys of one collection are adjacent in bytewise order, and no key of one
collection can look like a key of another.
"""

from typing import NewType

from amaters_server.model.errors import InvalidCollectionError, KeyTooLargeError

DataKey = NewType("DataKey", bytes)

MAX_KEY_BYTES = 65_536
MAX_COLLECTION_BYTES = 65_535
DATA_KEYS_END = b"\xff\xff\xff"
"""Above every data key: no byte of a collection in UTF-8 is 0xff."""

_prefixes: dict[str, bytes] = {}
_MAX_CACHED_PREFIXES = 4096
_LONGEST_CACHED = 128
"""Callers choose the names: longer ones are encoded each time, so that little memory is kept."""


def collection_prefix(collection: str) -> bytes:
    """Return the prefix of all data keys of the collection."""
    known = _prefixes.get(collection)
    if known is not None:
        return known
    name = collection.encode()
    if len(name) > MAX_COLLECTION_BYTES:
        raise InvalidCollectionError(size=len(name), limit=MAX_COLLECTION_BYTES)
    prefix = len(name).to_bytes(2, "big") + name
    if len(name) <= _LONGEST_CACHED and len(_prefixes) < _MAX_CACHED_PREFIXES:
        _prefixes[collection] = prefix
    return prefix


def data_key(collection: str, key: bytes) -> DataKey:
    """Join a collection and a caller's key; refuses keys over 64 KiB."""
    if len(key) > MAX_KEY_BYTES:
        raise KeyTooLargeError(size=len(key), limit=MAX_KEY_BYTES)
    return DataKey(collection_prefix(collection) + key)


def split_data_key(stored: bytes) -> tuple[str, bytes]:
    """Split a data key into its collection and the caller's key."""
    end = 2 + int.from_bytes(stored[:2], "big")
    return stored[2:end].decode(), stored[end:]


def collection_of(stored: bytes) -> bytes:
    """Return the prefix that a data key shares with all keys of its collection."""
    return stored[: 2 + int.from_bytes(stored[:2], "big")]
