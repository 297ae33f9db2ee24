"""Pages of a range of keys, and the cursor of the next page."""

import binascii
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from amaters.cli.formatting import JsonValue, entry_facts, text_or_base64
from amaters.data.client import AmatersClient
from amaters.data.codec import LARGEST_LIMIT
from amaters.errors import InvalidRequestError
from amaters.keys import after, as_bytes
from amaters.values import Consistency, Entry, Range


@dataclass(frozen=True, slots=True)
class Page:
    """Which page to read."""

    limit: int | None = None
    offset: int = 0
    cursor: str | None = None

    @property
    def is_part(self) -> bool:
        """Whether the page may be less than the whole range."""
        return self.limit is not None or self.cursor is not None

    def start(self, first: bytes) -> bytes:
        """Return the key to start at, at or after the start of the range."""
        if self.cursor is None:
            return first
        try:
            # Published cursors have a digest after a bar; only the key is needed.
            return max(first, after(binascii.unhexlify(self.cursor.partition("|")[0])))
        except binascii.Error as error:
            raise InvalidRequestError(
                f"{self.cursor!r} is no cursor: take next_cursor from the answer before"
            ) from error


@dataclass(frozen=True, slots=True)
class Found:
    """The page that was read."""

    entries: tuple[Entry, ...]
    page: Page
    has_more: bool

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page, or None at the end."""
        return self.entries[-1].key.hex() if self.has_more and self.entries else None

    def to_json(self, operation: str) -> dict[str, JsonValue]:
        """Return it for machine formats."""
        results: list[JsonValue] = [
            {"key": text_or_base64(one.key), **entry_facts(one)} for one in self.entries
        ]
        facts: dict[str, JsonValue] = {
            "status": "success",
            "operation": operation,
            "count": len(results),
            "results": results,
        }
        if self.page.is_part:
            facts["has_more"] = self.has_more
        if self.next_cursor is not None:
            facts["next_cursor"] = self.next_cursor
        return facts


async def collect_page(
    client: AmatersClient, wanted: Range, page: Page, consistency: Consistency
) -> Found:
    """Read the page into memory, and check whether another one follows."""
    limit = page.limit
    one_more = replace(page, limit=None if limit is None else limit + 1)
    found = [one async for one in stream_page(client, wanted, one_more, consistency)]
    has_more = limit is not None and len(found) > limit
    return Found(tuple(found[:limit]), page, has_more)


async def stream_page(
    client: AmatersClient, wanted: Range, page: Page, consistency: Consistency
) -> AsyncIterator[Entry]:
    """Yield the entries of the page as they arrive."""
    limit = None if page.limit is None else min(page.limit + page.offset, LARGEST_LIMIT)
    part = replace(wanted, start=page.start(as_bytes(wanted.start)), limit=limit)
    left_out = 0
    async for entry in client.scan_range(part, consistency=consistency):
        if left_out < page.offset:
            left_out += 1
        else:
            yield entry
