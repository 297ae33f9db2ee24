"""Which collections there are and how many rows they have, as the server counts them."""

import json
from dataclasses import dataclass

from amaters.data.client import AmatersClient
from amaters.errors import AmatersError, ProtocolError

_STATS = b"__admin__:STATS"


@dataclass(frozen=True, slots=True)
class Held:
    """What a collection holds."""

    keys: int
    size_bytes: int


async def collections_of(client: AmatersClient, collection: str) -> dict[str, Held]:
    """Return every collection; ProtocolError when the server does not list them.

    The question travels as a read of that collection.
    """
    answer = await client.get(collection, _STATS)
    try:
        facts = json.loads(answer or b"{}")
        return {
            str(one["collection"]): Held(int(one["keys"]), int(one["bytes"]))
            for one in facts["collections"]
        }
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ProtocolError("the server does not list its collections: upgrade it") from error


async def rows_of(client: AmatersClient, collection: str) -> int | None:
    """Return the count for a bar's end; None when there is none, or the caller may not ask."""
    try:
        held = (await collections_of(client, collection)).get(collection)
    except AmatersError:
        return None
    return 0 if held is None else held.keys
