"""The settings of a node; `app.from_settings` makes them from the configuration."""

from dataclasses import dataclass, field
from pathlib import Path

from amaters_server.raft.log import LogRetention


@dataclass(frozen=True, slots=True)
class InitialMember:
    """One member of the cluster as it is first formed."""

    id: int
    peer_address: str

    @property
    def text(self) -> str:
        """Return it as configured: `id:host:port`."""
        return f"{self.id}:{self.peer_address}"


@dataclass(frozen=True, slots=True)
class Addresses:
    """The name of a node, and its addresses."""

    name: str
    peer: str
    """host:port of the internal listener, as the other members reach it."""
    client: str


@dataclass(frozen=True, slots=True)
class Timing:
    """How fast a node notices that another one is gone, in seconds."""

    heartbeat_interval: float = 0.1
    election_timeout: float = 0.3
    """The middle of the range that is drawn from: a third less to a third more."""

    @property
    def tick(self) -> float:
        """Return the length of one raft tick."""
        return self.heartbeat_interval / 5

    @property
    def heartbeat_ticks(self) -> int:
        """Return the ticks between two heartbeats of a leader."""
        return 5

    @property
    def election_ticks(self) -> tuple[int, int]:
        """Return the shortest election timeout, and the one that is never reached, in ticks."""
        shortest = max(round(self.election_timeout * 2 / 3 / self.tick), self.heartbeat_ticks + 1)
        return shortest, max(round(self.election_timeout * 4 / 3 / self.tick), shortest + 1)

    @property
    def longest_election_timeout(self) -> float:
        """Return how long a follower waits at most before it campaigns."""
        return self.election_ticks[1] * self.tick


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Everything a node needs to know before it starts."""

    addresses: Addresses
    transfer_folder: Path
    """Where snapshots for and from other members are kept during transfer; created when missing."""
    version: tuple[int, int, int] = (0, 3, 0)
    initial: tuple[InitialMember, ...] = ()
    """The members as the cluster is first formed. A node without any forms one by itself when
    `join` is empty too."""
    join: tuple[str, ...] = ()
    """Peer addresses to ask for admission, beside the initial members."""
    token: str = field(default="", repr=False)
    """Part of what the cluster id is derived from: keeps clusters with equal members apart."""
    timing: Timing = Timing()
    retention: LogRetention = field(default_factory=LogRetention)
    sync_seconds: float = 0.0
    """How long an acknowledged write may wait for the fsync that makes it durable; a failure of the
    machine may lose the writes of that time. Infinite: until the operating system writes it."""
    snapshot_bytes_per_second: int = 0
    """The rate at which snapshots are sent to lagging members; 0: no limit."""
    min_free_bytes: int | None = None
    """Room that has to stay on the disk; None: a share of it, 0: no limit."""
    waiting_limit: int = 20_000
    """Calls that may wait at once; more are refused with OverloadedError."""
