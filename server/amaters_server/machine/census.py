"""How many collections there are, without reading what is in them."""

from amaters_server.machine.view import MachineView
from amaters_server.model.keys import DATA_KEYS_END, collection_end

MOST_COUNTED = 10_000
"""Each costs a seek; more are not counted."""


def count_collections(view: MachineView) -> tuple[int, bool]:
    """Return the number of collections and whether that is all; blocks, and closes the view."""
    try:
        count, start = 0, b""
        while count < MOST_COUNTED:
            first = next(iter(view.scan(start, DATA_KEYS_END)), None)
            if first is None:
                return count, True
            count, start = count + 1, collection_end(first[0])
        return count, False
    finally:
        view.close()
