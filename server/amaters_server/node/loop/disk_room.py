"""Which writes a node takes while its disk is low on room or full. Pure.

Above the limit all writes are taken. Below it, writes that add data are refused while there is
still room to delete, to compact and to serve reads. On a full disk no write is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from amaters_server.model.errors import StorageFullError
from amaters_server.model.queries import Columns, Put, Update
from amaters_server.node.values import DiskReport
from amaters_server.raft.proposal import WaitingCommand
from amaters_server.storage.room import Room

_MIB = 1024 * 1024
LEAST_SHARE = 0.05
"""Of the disk, that stays free when no amount is configured; more if a flush needs more."""
SMALLEST_LIMIT_BYTES = 8 * _MIB
LARGEST_LIMIT_BYTES = 1024 * _MIB
LARGEST_SHARE = 0.25
"""Of the disk, however much a flush may need."""
BACK_AT = 1.25
"""How many times the limit must be free before writes are taken again."""


@dataclass(slots=True)
class RoomGuard:
    """Whether a disk has room for more, with a margin so that it does not flap."""

    configured: int | None = None
    """Bytes that stay free; 0: no limit, None: a share of the disk."""
    low: StorageFullError | None = None
    measured: Room | None = None
    """The last measurement; None when there is no limit."""

    def limit(self, room: Room) -> int:
        """Return the bytes that have to stay free."""
        if self.configured is not None:
            return self.configured
        share = int(room.total * LEAST_SHARE)
        # A flush that does not fit ends all writing, that of deletes too.
        wanted = min(max(share, room.flush_bytes), LARGEST_LIMIT_BYTES)
        return max(min(wanted, int(room.total * LARGEST_SHARE)), SMALLEST_LIMIT_BYTES)

    def changed(self, room: Room | None) -> bool:
        """Store a measurement; return whether the verdict changed."""
        self.measured = room
        was_low = self.low is not None
        if room is None:
            self.low = None
            return was_low
        limit = self.limit(room)
        if not was_low and room.free < limit:
            self.low = StorageFullError(
                f"the disk of {room.where} has {room.free // _MIB} MiB free, and "
                f"{limit // _MIB} MiB are kept for deleting and compacting: delete data or enlarge "
                "the volume; reads and deletes go on, writes by themselves once there is room"
            )
        elif was_low and room.free >= limit * BACK_AT:
            self.low = None
        return was_low is not (self.low is not None)

    def report(self, *, full: bool) -> DiskReport:
        """Return the last measurement and the verdict."""
        room = self.measured
        if room is None:
            return DiskReport(full=full)
        return DiskReport(
            room.free, room.total, self.limit(room), low=self.low is not None, full=full
        )


def adds(write: WaitingCommand) -> bool:
    """Whether the write stores something, rather than only removing and reading."""
    operations = write.operations
    if type(operations) is Columns:
        return any(value is not None for value in operations.values)
    return any(type(operation) in (Put, Update) for operation in operations)


def split(
    writes: Sequence[WaitingCommand], *, full: bool
) -> tuple[list[WaitingCommand], list[WaitingCommand]]:
    """Return the writes to take and those to refuse."""
    taken = [] if full else [write for write in writes if not adds(write)]
    refused = list(writes) if full else [write for write in writes if adds(write)]
    return taken, refused
