"""The usual queries out of many requests of `amaters.aql` at once. Pure; never refuses anything.

A request is usual when it is spelled as every protobuf encoder spells it (fields in ascending
order and each once, nothing unknown, no defaults written out), asks for Gets, Sets and Deletes
only, and keeps to the rules given to the reader, the checksums of its values included. For all
else the answer is None: let the generated classes read it, and refuse what there is to refuse.
"""

from typing import Final, TypeAlias, final

__all__ = ["DELETE", "GET", "SET", "Columns", "Lone", "QueryReader"]

GET: Final = 1
SET: Final = 2
DELETE: Final = 3
"""Kinds of queries: their fields in `amaters.query.Query`."""

Lone: TypeAlias = tuple[int, bytes, bytes | None, str | None, int]
"""(kind, data key, value of a Set, request id, timeout in milliseconds or 0).

The data key is the collection's length in two big-endian bytes, the collection, and the caller's
key. The value is the CipherBlob exactly as it was sent, which is how it would be serialized again.
"""

Columns: TypeAlias = tuple[list[bytes], list[bytes | None] | None, str | None, int]
"""(data keys, values, request id, timeout in milliseconds or 0).

Values are None for a batch of Gets; otherwise there is one for every key, None for a Delete.
"""

@final
class QueryReader:
    """Reads requests by fixed rules; usable from any thread."""

    def __new__(
        cls,
        *,
        longest_collection: int,
        longest_key: int,
        highest_compression: int,
        created_at: tuple[int, int],
        commands: bytes,
    ) -> QueryReader:
        """Set the rules: lengths in bytes, the first and the last creation time in seconds.

        Gets of keys that begin with `commands` are unusual.
        """

    def queries(self, requests: list[bytes], /) -> list[Lone | None]:
        """Read a QueryRequest each; one answer per request, in order."""

    def batches(self, requests: list[bytes], /) -> list[Columns | None]:
        """Read a BatchRequest each; Gets together with other queries are unusual."""
