"""The published SDK's client."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self, cast

from typing_extensions import override

from amaters.compat.config import ClientConfig
from amaters.compat.errors import AmateRSError, InvalidArgumentError, translated
from amaters.compat.results import (
    BatchItem,
    BatchStreamIterator,
    KeyLike,
    Pair,
    ScanResult,
    StreamIterator,
    key_bytes,
)
from amaters.data.client import AmatersClient
from amaters.keys import prefix_end
from amaters.values import Delete, Entry, Get, Operation, Range, Set

BatchTuple = tuple[str, str, KeyLike] | tuple[str, str, KeyLike, bytes | None]
"""("set", collection, key, value), ("get", collection, key) or ("delete", collection, key)."""


class AmateRSClient:
    """A client of one cluster; made by `connect`, closed by `close` or as a context."""

    def __init__(self, client: AmatersClient, config: ClientConfig) -> None:
        self._client = client
        self._config = config
        self._closing: asyncio.Task[None] | None = None
        self._under_way = 0

    @staticmethod
    async def connect(addr: str) -> "AmateRSClient":
        """Connect to the server at that address, for example http://localhost:7878."""
        return await AmateRSClient.connect_with_config(ClientConfig(addr))

    @staticmethod
    async def connect_with_config(config: ClientConfig) -> "AmateRSClient":
        """Connect as configured; ConnectionError when no server can be reached."""
        with translated():
            connected = await AmatersClient.connect(config.server_addr, options=config.as_options())
        return AmateRSClient(connected, config)

    async def set(self, collection: str, key: KeyLike, value: bytes) -> None:
        """Store the value under the key."""
        with self._operation():
            await self._client.set(collection, key_bytes(key), value)

    async def get(self, collection: str, key: KeyLike) -> bytes | None:
        """Return the value, or None when there is none."""
        with self._operation():
            return await self._client.get(collection, key_bytes(key))

    async def delete(self, collection: str, key: KeyLike) -> None:
        """Delete the key, which need not exist."""
        with self._operation():
            await self._client.delete(collection, key_bytes(key))

    async def contains(self, collection: str, key: KeyLike) -> bool:
        """Whether the key exists."""
        with self._operation():
            return await self._client.contains(collection, key_bytes(key))

    async def batch(self, operations: Sequence[BatchTuple]) -> list[BatchItem]:
        """Carry the operations out together; a get yields bytes or None, all others None."""
        wanted = [_operation(one) for one in operations]
        with self._operation():
            results = await self._client.batch(wanted)
        return [one.value if isinstance(one, Entry) else None for one in results]

    async def batch_set(self, collection: str, items: Sequence[tuple[KeyLike, bytes]]) -> int:
        """Store several values together; returns how many."""
        await self.batch([("set", collection, key, value) for key, value in items])
        return len(items)

    async def batch_get(
        self, collection: str, keys: Sequence[KeyLike]
    ) -> list[tuple[bytes, bytes | None]]:
        """Return every key with its value or None, in the order of the keys."""
        found = await self.batch([("get", collection, key) for key in keys])
        values = cast("list[bytes | None]", found)
        return list(zip((key_bytes(one) for one in keys), values, strict=True))

    async def batch_delete(self, collection: str, keys: Sequence[KeyLike]) -> int:
        """Delete several keys together; returns how many."""
        await self.batch([("delete", collection, key) for key in keys])
        return len(keys)

    async def range_query(self, collection: str, start: KeyLike, end: KeyLike) -> list[Pair]:
        """Return the pairs with keys from start up to, and not including, end."""
        with self._operation():
            found = await self._client.range(collection, key_bytes(start), key_bytes(end))
        return [(one.key, one.value) for one in found]

    async def count(self, collection: str, start: KeyLike, end: KeyLike) -> int:
        """Count the keys in the range."""
        return len(await self.range_query(collection, start, end))

    async def keys(self, collection: str, start: KeyLike, end: KeyLike) -> list[bytes]:
        """Return the keys in the range."""
        return [key for key, _ in await self.range_query(collection, start, end)]

    async def range_stream(
        self, collection: str, start: KeyLike, end: KeyLike, chunk_size: int = 100
    ) -> StreamIterator:
        """Return the pairs of the range, to be iterated a list at a time."""
        return StreamIterator(await self.range_query(collection, start, end), chunk_size)

    async def prefix_query(self, collection: str, prefix: KeyLike) -> list[Pair]:
        """Return the pairs whose keys begin with the prefix."""
        first = key_bytes(prefix)
        return await self.range_query(collection, first, prefix_end(first))

    async def prefix_stream(
        self, collection: str, prefix: KeyLike, chunk_size: int = 100
    ) -> StreamIterator:
        """Return the pairs whose keys begin with the prefix, to be iterated a list at a time."""
        return StreamIterator(await self.prefix_query(collection, prefix), chunk_size)

    async def batch_stream(
        self, operations: Sequence[BatchTuple], chunk_size: int = 50
    ) -> BatchStreamIterator:
        """Carry the operations out together; returns the results, a list at a time."""
        return BatchStreamIterator(await self.batch(operations), chunk_size)

    async def scan(
        self, collection: str, prefix: KeyLike, cursor: str | None = None, limit: int = 100
    ) -> ScanResult:
        """Return one page of the pairs whose keys begin with the prefix.

        A cursor is a count of pairs to leave out, as published, so pages shift when keys come or
        go in between.
        """
        first, offset, size = key_bytes(prefix), _offset(cursor), max(limit, 1)
        wanted = Range(collection, first, prefix_end(first), offset + size + 1)
        with self._operation():
            found = [(one.key, one.value) async for one in self._client.scan_range(wanted)]
        more = len(found) > offset + size
        page = found[offset : offset + size]
        return ScanResult(page, str(offset + size) if more else None)

    async def health_check(self) -> bool:
        """Return True when the server serves; AmateRSError says why it does not."""
        with self._operation():
            health = await self._client.health_check()
        if not health.serving:
            raise AmateRSError(f"{health.address} does not serve: {health.message}")
        return True

    def pool_stats(self) -> dict[str, int]:
        """Count connections: one to each server in use, which carries everything."""
        connected = self._client.connections
        active = min(self._under_way, connected, 1)
        return {
            "total_connections": connected,
            "idle_connections": connected - active,
            "active_connections": active,
        }

    def close(self) -> None:
        """Close the connections; returns at once."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(
                self._client.close(), name="close"
            )

    async def closed(self) -> None:
        """Return once `close` has done its work."""
        self.close()
        if self._closing is not None:
            await self._closing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.closed()

    @override
    def __repr__(self) -> str:
        return f"AmateRSClient({self._config.server_addr!r})"

    @contextmanager
    def _operation(self) -> Iterator[None]:
        self._under_way += 1
        try:
            with translated():
                yield
        finally:
            self._under_way -= 1


def _operation(wanted: BatchTuple) -> Operation:
    verb, collection, key = wanted[0], wanted[1], key_bytes(wanted[2])
    value = wanted[3] if len(wanted) > 3 else None  # noqa: PLR2004
    match verb.lower():
        case "get":
            return Get(collection, key)
        case "delete":
            return Delete(collection, key)
        case "set" if value is not None:
            return Set(collection, key, value)
        case "set":
            raise InvalidArgumentError(f"a set needs a value: {wanted!r:.200}")
        case _:
            raise InvalidArgumentError(f"{verb!r} is no operation: use set, get or delete")


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isdecimal():
        raise InvalidArgumentError(f"{cursor!r} is no cursor: use next_cursor of a result")
    return int(cursor)
