"""What a slow write changes, gathered in slices: the new rows, how much they grow, their order.

Whatever takes time for each row is done here, in slices. So the state machine takes over a million
rows in a moment.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from amaters_server.machine.collection_count import Sizes, differences
from amaters_server.machine.execute import Workspace
from amaters_server.model.errors import StorageError
from amaters_server.storage.engine import Changes, Space

log = logging.getLogger(__name__)

Measure = Callable[[list[bytes]], Sizes]
"""Returns the sizes of rows as they are in the state before."""

ROWS_PER_SLICE = 1024


@dataclass(slots=True)
class Gathered:
    """The effect of a slow write on the data."""

    changes: Changes = field(default_factory=Changes)
    keys: list[bytes] = field(default_factory=list)
    """In order."""
    growth: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """By how many keys and bytes each collection grows."""
    uncounted: bool = False
    """Whether a row could not be measured."""

    def steps(
        self, workspace: Workspace, known: dict[bytes, int], measure: Measure
    ) -> Iterator[None]:
        """Gather; `known` are sizes of rows in the state before."""
        batch, operations = workspace.batch, self.changes.operations
        all_keys = list(batch)
        for at in range(0, len(all_keys), ROWS_PER_SLICE):
            keys = all_keys[at : at + ROWS_PER_SLICE]
            values = [batch[key] for key in keys]
            operations += [
                (Space.DATA, key, value) for key, value in zip(keys, values, strict=True)
            ]
            after = [
                0 if value is None else len(key) + len(value)
                for key, value in zip(keys, values, strict=True)
            ]
            try:
                self._grow(keys, _before(keys, known, measure), after)
            except StorageError as error:
                log.warning("collection_count.lost", extra={"reason": str(error)})
                self.uncounted = True
            yield
        self.keys = sorted(batch)

    def _grow(self, keys: list[bytes], before: Sizes, after: Sizes) -> None:
        for prefix, more, bigger in differences(keys, before, after):
            held = self.growth.get(prefix, (0, 0))
            self.growth[prefix] = (held[0] + more, held[1] + bigger)


def _before(keys: list[bytes], known: dict[bytes, int], measure: Measure) -> Sizes:
    found = [known.get(key) for key in keys]
    unknown = [key for key, size in zip(keys, found, strict=True) if size is None]
    if not unknown:
        return [size for size in found if size is not None]
    measured = iter(measure(unknown))
    return [next(measured) if size is None else size for size in found]
