"""What all members of a simulated cluster must agree on, noted as it happens."""

from amaters_server.model.replication import Committed


class Recorder:
    """Everything that all members must agree on, and whether they do."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        self.entries: dict[int, tuple[int, bytes, bytes]] = {}
        self.violations: list[str] = []
        self.trace: list[str] = []

    def led(self, node: int, term: int) -> None:
        """Note a leader; there must be one at most in each term."""
        known = self.leaders.setdefault(term, node)
        if known != node:
            self.violations.append(f"members {known} and {node} both led in term {term}")

    def applied(self, node: int, entry: Committed) -> None:
        """Note an applied entry; it must be the same at the same index everywhere, for ever."""
        found = (entry.term, entry.data, entry.context)
        known = self.entries.setdefault(entry.index, found)
        if known != found:
            self.violations.append(f"member {node} applied another entry at {entry.index}")
