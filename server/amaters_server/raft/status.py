"""What a replica reports: the state of its raft node, and counts."""

from dataclasses import dataclass
from typing import Self

from amaters_server.raft.raft_node import RaftNode


@dataclass(frozen=True, slots=True)
class RaftStatus:
    """The state of a raft node at one moment; a later message does not change it."""

    role: str = "follower"
    """`follower`, `candidate`, `pre-candidate` or `leader`."""
    leader: int = 0
    """0 when none is known."""
    term: int = 0
    commit: int = 0
    applied: int = 0
    first: int = 0
    """The first index that is still in the log."""
    last: int = 0
    votes: bool = False
    """False for a learner, and for a node that no configuration names yet."""
    confirmed: bool = False
    """An entry of the present term is committed: a quorum follows this leader."""
    installing: bool = False
    """A snapshot replaces the state: ticks and messages are dropped until it has."""

    @classmethod
    def of(cls, raft_node: RaftNode, *, installing: bool) -> Self:
        """Read it from the raft node."""
        return cls(
            role=raft_node.role,
            leader=raft_node.leader,
            term=raft_node.term,
            commit=raft_node.commit,
            applied=raft_node.applied,
            first=raft_node.first_index(),
            last=raft_node.last_index(),
            votes=raft_node.promotable,
            confirmed=raft_node.is_leader and raft_node.committed_in_term,
            installing=installing,
        )

    @property
    def leads(self) -> bool:
        """Whether this node leads, as far as it knows."""
        return self.role == "leader"


@dataclass(slots=True)
class ReplicaCounters:
    """Counts since the start."""

    proposals: int = 0
    dropped: int = 0
