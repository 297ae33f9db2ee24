"""What raft needs: a state machine to apply entries to."""

from collections.abc import Sequence
from typing import Protocol

from amaters_server.model.cluster import Membership
from amaters_server.model.replication import Committed, Outcome, ProposalNumber
from amaters_server.storage.engine import Changes


class Applied(Protocol):
    """The result of applying a run of entries."""

    @property
    def changes(self) -> Changes:
        """What the engine has to hold, including the applied index."""
        ...

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """One per entry that a member proposed, in order."""
        ...

    @property
    def members_changed(self) -> bool:
        """Whether the membership changed."""
        ...

    @property
    def version(self) -> int:
        """For `Applier.written`, once the engine holds the changes; 0: nothing was applied."""
        ...

    @property
    def count(self) -> int:
        """How many of the entries, the first ones, are applied; `apply` takes the others again."""
        ...

    @property
    def waits(self) -> bool:
        """Whether the next entry cannot go on before more is written; else it goes on at once."""
        ...


class Applier(Protocol):
    """The replicated state machine. Deterministic: no clock, no randomness, no I/O but reads."""

    @property
    def applied_index(self) -> int:
        """The last entry in the state, durable or not."""
        ...

    @property
    def applied_term(self) -> int:
        """The term of that entry."""
        ...

    @property
    def membership(self) -> Membership | None:
        """The members as of the applied index; None before there is a cluster."""
        ...

    def newest_proposals(self) -> dict[int, ProposalNumber]:
        """Return the number of the newest applied proposal of every member."""
        ...

    def apply(self, entries: Sequence[Committed], /) -> Applied:
        """Apply the next entries, as far as that takes no time; reads see their effect at once."""
        ...

    def written(self, version: int, /) -> None:
        """Report that the engine holds everything up to that apply."""
        ...
