"""The applied proposals of each member: none applies twice or out of order."""

from collections.abc import Iterable

from amaters_server.machine.codec import ProposalId
from amaters_server.model.replication import ProposalNumber


class ProposerSequences:
    """The last applied proposal of every member that ever proposed."""

    def __init__(self, last: Iterable[ProposalId] = ()) -> None:
        self._last = {one.origin: one for one in last}
        self._changed: dict[int, ProposalId] = {}

    def is_late(self, proposal: ProposalId) -> bool:
        """Whether `accept` would not take the proposal."""
        last = self._last.get(proposal.origin)
        return last is not None and proposal[1:] <= last[1:]

    def accept(self, proposal: ProposalId) -> bool:
        """Record the proposal as applied; False, and nothing recorded, when it comes too late."""
        if self.is_late(proposal):
            return False
        self._last[proposal.origin] = self._changed[proposal.origin] = proposal
        return True

    def all(self) -> list[ProposalId]:
        """Return the last applied proposal of every member, by member id."""
        return [self._last[origin] for origin in sorted(self._last)]

    def newest(self) -> dict[int, ProposalNumber]:
        """Return the number of the last applied proposal of every member."""
        return {origin: (one.incarnation, one.sequence) for origin, one in self._last.items()}

    def take_changed(self) -> list[ProposalId]:
        """Return what changed since the last call, and clear it."""
        changed, self._changed = list(self._changed.values()), {}
        return changed
