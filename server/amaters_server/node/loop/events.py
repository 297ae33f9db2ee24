"""What the loop reports to the node around it."""

from collections.abc import Sequence
from typing import Protocol

from amaters_server.model.errors import DatabaseError
from amaters_server.raft.outbox import Snapshot, SnapshotOffer


class LoopEvents(Protocol):
    """The node's side of its loop; every method is called on the event loop."""

    def leader_changed(self, leader: int, role: str, /) -> None:
        """Report the leader (0: none), and what this node is now."""
        ...

    def members_changed(self) -> None:
        """Report that the membership in the state machine is another one."""
        ...

    def changes_applied(self, contexts: Sequence[bytes], /) -> None:
        """Report which membership entries were applied."""
        ...

    def snapshot_offered(self, offer: SnapshotOffer, /) -> None:
        """Report an offer, whose message is stepped once its snapshot is here."""
        ...

    def snapshots_wanted(self, members: Sequence[int], /) -> None:
        """Report members that lack entries which the log no longer holds."""
        ...

    def far_term(self, member: int, /) -> None:
        """Report a member whose messages are of a term so far ahead that it has to confirm it."""
        ...

    def install(self, snapshot: Snapshot, /) -> None:
        """Install the snapshot, since everything handed out is written; then call `resume`."""
        ...

    def is_alone(self) -> bool:
        """Whether this node is the only voter."""
        ...

    def failed(self, error: DatabaseError, /) -> None:
        """Report that the loop has stopped because its disk or raft is beyond repair."""
        ...
