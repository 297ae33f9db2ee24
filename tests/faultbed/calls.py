"""What a recording client writes down of each call, and how it is read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from amaters_server.testing.history import Operation, Outcome


@dataclass(frozen=True, slots=True)
class Call:
    """One call; times are of the machine's monotonic clock, which all processes share."""

    client: int
    node: int
    """The node that was asked; 0 where the client chose by itself."""
    key: str
    write: bool
    value: str | None
    invoked: float
    returned: float
    outcome: str
    error: str = ""

    @property
    def acknowledged(self) -> bool:
        """Whether the caller was told that it was done."""
        return self.outcome == Outcome.OK.value

    def line(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    def operation(self) -> Operation:
        """Return it as the checker takes it."""
        value = None if self.value is None else self.value.encode()
        return Operation(
            self.client,
            self.key.encode(),
            self.write,
            value,
            self.invoked,
            self.returned,
            Outcome(self.outcome),
        )


def parsed(lines: Iterable[str]) -> Iterator[Call]:
    """Read lines back."""
    for line in lines:
        yield Call(**json.loads(line))
