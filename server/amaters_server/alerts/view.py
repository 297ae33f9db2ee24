"""What one node sees of its cluster at one moment: all that alerts are judged from. Pure values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemberView:
    """Another member, as this node sees it."""

    id: int
    name: str
    votes: bool
    started: bool
    """Whether a node with a disk has ever claimed this member."""
    heard_at: float | None
    """When a message of it last arrived, on the node's clock; None: none since the start."""
    leaving_at: float | None = None
    """When it announced that it stops; None when it did not."""
    lag_entries: int | None = None
    """Log entries it lacks; only a leader knows."""
    incompatible: tuple[int, int, int] | None = None
    """Its version, when this node does not work with it for that; None when it does."""


@dataclass(frozen=True, slots=True)
class DiskView:
    """The room on this node's disk."""

    free_mb: int = 0
    low: bool = False
    """Writes that add data are refused."""
    full: bool = False
    """All writes are refused."""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One node's view; taken some times a second."""

    own: int
    """This member's id; 0 while it belongs to no cluster."""
    name: str
    votes: bool
    leader: int
    """0 when none is known."""
    confirmed: bool
    """Whether this member leads and a quorum confirmed it."""
    muted: bool = False
    """Whether this node judges no member: it is stopping, was removed, or its disk has failed."""
    others: tuple[MemberView, ...] = ()
    disk: DiskView = DiskView()
    failed: frozenset[int] = frozenset()
    """Whom the leaders so far reported as failed, as far as this node knows."""

    def name_of(self, member: int) -> str:
        """Return what people call the member, its id included."""
        names = {self.own: self.name, **{one.id: one.name for one in self.others}}
        name = names.get(member, "")
        return f"{name} (member {member})" if name else f"member {member}"
