"""Where the true values of the answers come from; every command reads them again."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from amaters_server.backups.stores.s3_settings import S3Credentials
from amaters_server.machine.collection_count import Holdings
from amaters_server.model.principal import ForwardedFor
from amaters_server.node.backup.files import StoreAccess
from amaters_server.node.maintenance.compaction import Compaction
from amaters_server.node.maintenance.verification import Verification
from amaters_server.node.values import BackupInfo, MembersReport, NodeStatus, RestoreUpdate
from amaters_server.rpc.aql.commands.line import Line
from amaters_server.storage.engine import EngineStatistics
from amaters_server.telemetry.counters import CallCounters, Traffic

Facts: TypeAlias = dict[str, object]
"""A JSON object."""


class Maintenance(Protocol):
    """What a node does to its own disk."""

    @property
    def verification(self) -> Verification | None:
        """The verification that runs, or the last one since the start."""
        ...

    @property
    def verifying(self) -> bool:
        """Whether one runs."""
        ...

    async def verify(self, seconds: float) -> Verification:
        """Join or begin one, and wait so long; the result says whether it is complete."""
        ...

    async def compact(self, collection: str | None, seconds: float) -> Compaction | None:
        """Join or begin one, and wait so long; None when it goes on."""
        ...


class Backups(Protocol):
    """The backups of a node."""

    async def create(self, upload: StoreAccess | None, /) -> BackupInfo:
        """Write a backup of the data as of now, and upload it."""
        ...

    async def list_remote(
        self, access: StoreAccess, /, *, every_cluster: bool = False
    ) -> list[BackupInfo]:
        """Return the backups there."""
        ...

    def restore(
        self,
        uri: str,
        /,
        *,
        replace: bool,
        remote: bool = False,
        credentials: S3Credentials | None = None,
        collection: str = "",
    ) -> AsyncGenerator[RestoreUpdate, None]:
        """Load a backup's data into the cluster, reporting how far it is."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that commands ask."""

    status: Callable[[], NodeStatus]
    members: Callable[[ForwardedFor | None], Awaitable[MembersReport]]
    """As the leader reports them to this caller."""
    sizes: Callable[[], Awaitable[Mapping[int, int]]]
    """Bytes of the table files of every member that answers."""
    statistics: Callable[[], EngineStatistics]
    holdings: Callable[[], Awaitable[Holdings | None]]
    """How much data there is; None while it is being counted."""
    traffic: Callable[[], Traffic]
    counters: CallCounters
    storage_type: str
    maintenance: Maintenance
    backups: Backups


@dataclass(frozen=True, slots=True)
class Asked:
    """One command of one caller."""

    line: Line
    caller: ForwardedFor | None
    seconds: float
    """How long the caller waits for an answer."""
    unix_time: float
    """Now."""


Command: TypeAlias = Callable[[Sources, Asked], Awaitable[Facts]]
Words: TypeAlias = Sequence[str]
