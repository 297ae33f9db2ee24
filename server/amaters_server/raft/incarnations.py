"""The incarnations of the members, and a new one of this node when its name was taken."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from amaters_server.model.errors import StorageCorruptedError
from amaters_server.model.replication import ProposalNumber
from amaters_server.raft.log import HIGHEST_INCARNATION
from amaters_server.raft.proposal import Origin


class Incarnations:
    """The newest incarnation of every member, as far as proposals were applied."""

    def __init__(self, report: Callable[[int, int], None], write: Callable[[int], int]) -> None:
        """`report` takes a member and its incarnation; `write` returns the token of a batch."""
        self.exhausted: StorageCorruptedError | None = None
        """Set once no later incarnation is left for this node: it can propose no more."""
        self._report, self._write = report, write
        self._newest: dict[int, int] = {}
        self._renewal: tuple[int, Origin] | None = None
        """The token of the batch that makes the new incarnation durable, and the new origin."""

    def note(self, member: int, incarnation: int) -> None:
        """Record the incarnation of an applied proposal."""
        if incarnation > self._newest.get(member, -1):
            self._newest[member] = incarnation
            self._report(member, incarnation)

    def note_all(self, newest: Mapping[int, ProposalNumber]) -> None:
        """Record the newest applied proposal of every member."""
        for member, (incarnation, _) in newest.items():
            self.note(member, incarnation)

    def renew(self, origin: Origin) -> Origin | None:
        """Have an incarnation above all known ones written; None if that is not possible now."""
        if self._renewal is not None or self.exhausted is not None:
            return None
        known = self._newest.get(origin.node_id, 0)
        incarnation = max(known, origin.incarnation) + 1
        if incarnation > HIGHEST_INCARNATION:
            self.exhausted = StorageCorruptedError(
                f"no member accepts a write of this node: an entry in its name has incarnation "
                f"{known}, which is beyond reason; remove this member and add a new one"
            )
            return None
        renewed = replace(origin, incarnation=incarnation)
        self._renewal = self._write(incarnation), renewed
        return renewed

    def renewed(self, token: int) -> Origin | None:
        """Return the new origin if this batch made it durable."""
        if self._renewal is None or self._renewal[0] > token:
            return None
        origin, self._renewal = self._renewal[1], None
        return origin
