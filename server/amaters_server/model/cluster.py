"""The cluster: ids, members and states."""

import enum
from dataclasses import dataclass, field
from typing import NewType

NodeId = NewType("NodeId", int)
Term = NewType("Term", int)
LogIndex = NewType("LogIndex", int)

"""Raft's id for no leader."""


class NodeState(enum.Enum):
    """The state of a node; the names are those of the admin service."""

    STARTING = "starting"
    WAITING = "waiting"
    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"
    LEARNER = "learner"
    REMOVED = "removed"
    DISK_LOST = "disk_lost"
    SHUTTING_DOWN = "shutting_down"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the cluster. Ids are never used twice, not even after a removal."""

    id: NodeId
    name: str
    peer_address: str
    """host:port of its internal listener; resolved again on every connection."""
    client_address: str
    is_learner: bool = False
    disk_id: str = ""
    """Empty until a node with a disk has claimed this member."""

    @property
    def started(self) -> bool:
        """Whether a node with a disk has claimed this member."""
        return bool(self.disk_id)


@dataclass(frozen=True, slots=True)
class ConfState:
    """Raft's configuration; the fields are those of raft-rs, including joint consensus."""

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False


@dataclass(frozen=True, slots=True)
class Membership:
    """The replicated membership of the cluster."""

    cluster_id: str
    members: tuple[Member, ...] = ()
    conf_state: ConfState = field(default_factory=ConfState)
    highest_id: int = 0
    """The highest id ever assigned."""

    def member(self, node: int) -> Member | None:
        """Return the member with that id, or None when it is not (or no longer) one."""
        return next((one for one in self.members if one.id == node), None)

    def at(self, peer_address: str) -> Member | None:
        """Return the member that listens there, or None."""
        return next((one for one in self.members if one.peer_address == peer_address), None)
