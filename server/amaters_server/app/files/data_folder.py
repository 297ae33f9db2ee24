"""The data folder as its administrators see it: its room, and what removed members left in it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from amaters_server.app import from_settings
from amaters_server.app.files.engine import database_folder
from amaters_server.config.settings import Settings
from amaters_server.model.cluster import NodeState
from amaters_server.model.errors import (
    ConfigurationError,
    MembershipError,
    StorageError,
    StorageFullError,
)
from amaters_server.node.loop.disk_room import RoomGuard
from amaters_server.node.values import DiskReport, NodeStatus
from amaters_server.storage import room, set_aside, small_file
from amaters_server.storage.set_aside import SetAside
from amaters_server.storage.swap import sync_folder

_log = logging.getLogger(__name__)

FENCED = "fenced"
"""The file that keeps a node from leading and from being ready."""
MEASURE_SECONDS = 1.0
"""How long a disk may take to say what is free."""
ANSWER_SECONDS = 0.2
"""For the answer to arrive before the process begins to stop."""


def members_parts(settings: Settings) -> list[Path]:
    """Return what a member stores in the data folder: all but the backups that it has made."""
    data_dir, log_folder = settings.server.data_dir, from_settings.log_folder(settings)
    made = sorted(data_dir.glob(f"{database_folder(settings).name}*"))
    made.append(from_settings.node_settings(settings).transfer_folder)
    if log_folder is not None and log_folder.is_relative_to(data_dir):
        made.append(log_folder)
    return made


def set_aside_if_asked(settings: Settings) -> None:
    """Set aside what a removed member has stored, if that was asked for; blocks."""
    data_dir = settings.server.data_dir
    try:
        member = set_aside.carry_out(data_dir, members_parts(settings))
    except ValueError as damaged:
        raise StorageError(str(damaged)) from damaged
    except OSError as wrong:
        doing = f"what a removed member has stored in {data_dir} cannot be set aside"
        raise ConfigurationError.of_path(doing, wrong, "server.data_dir") from wrong
    if member:
        _log.warning("data.set_aside", extra={"member": member, "folder": str(data_dir)})


class DataFolder:
    """One node's data folder; `restart` has the process stop, so that it is started again."""

    def __init__(self, settings: Settings, restart: Callable[[], None]) -> None:
        self._settings = settings
        self._folder = settings.server.data_dir
        self._restart = restart
        self._known: tuple[SetAside, ...] | None = None

    async def usage(self, known: DiskReport) -> DiskReport:
        """Return what the node reports, measured now if it has measured nothing."""
        if known.total_bytes or self._settings.storage.engine == "memory":
            return known
        try:
            now = await self._measured()
        except (OSError, TimeoutError):
            return known
        kept = self._guard().limit(now)
        return DiskReport(now.free, now.total, kept, low=known.low, full=known.full)

    def is_fenced(self) -> bool:
        """Return whether the node was fenced when it last ran; blocks."""
        return (self._folder / FENCED).exists()

    async def set_fenced(self, fenced: bool, /) -> None:  # noqa: FBT001 - it says what
        """Record it for the next starts; StorageError when that is impossible."""
        try:
            await asyncio.to_thread(self._record_fence, fenced)
        except OSError as wrong:
            raise StorageError(f"the fence cannot be recorded: {wrong}") from wrong

    def _record_fence(self, fenced: bool) -> None:  # noqa: FBT001
        path = self._folder / FENCED
        if fenced:
            small_file.write(path, b"this node may not lead\n")
        elif path.exists():
            path.unlink()
            sync_folder(self._folder)

    async def set_aside(self) -> Sequence[SetAside]:
        """Return what removed members have left here."""
        if self._known is None:
            self._known = await asyncio.to_thread(set_aside.found, self._folder)
        return self._known

    async def request(self, status: NodeStatus, member: int, cluster_id: str) -> None:
        """Set aside what the removed member `member` has stored, and restart.

        MembershipError unless this node is that member and knows that it was removed;
        StorageFullError without room for as much data again.
        """
        log_folder = from_settings.log_folder(self._settings)
        if status.node_id != member or status.cluster_id != cluster_id or not member:
            raise MembershipError(
                f"this disk is that of member {status.node_id} of cluster "
                f"{status.cluster_id or '(none)'}, not of member {member} of {cluster_id}: "
                "nothing was set aside"
            )
        if status.state is not NodeState.REMOVED:
            raise MembershipError(
                f"member {member} does not know that it was removed: its data stays. Remove the "
                "member first, and let this node reach the others"
            )
        if log_folder is not None and not log_folder.is_relative_to(self._folder):
            raise MembershipError(
                f"storage.wal.dir is {log_folder}, outside of the data folder: move both folders "
                "away by hand, then restart this node"
            )
        try:
            await self._require_room()
            await asyncio.to_thread(set_aside.request, self._folder, member)
        except OSError as wrong:
            raise StorageError(f"the disk does not take the request: {wrong}") from wrong
        _log.warning("data.set_aside_requested", extra={"member": member})
        asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._restart)

    async def discard(self, status: NodeStatus, member: int) -> None:
        """Delete for good what was set aside of that member; MembershipError for this one's."""
        if not member or member == status.node_id:
            raise MembershipError(f"member {member} is in use here: nothing was deleted")
        try:
            gone = await asyncio.to_thread(set_aside.discard, self._folder, member)
        except OSError as wrong:
            raise StorageError(f"the data cannot be deleted: {wrong}") from wrong
        self._known = None
        if gone:
            _log.warning("data.discarded", extra={"member": member})

    async def _measured(self) -> room.Room:
        measuring = asyncio.to_thread(room.measured, self._folder)
        return await asyncio.wait_for(measuring, MEASURE_SECONDS)

    async def _require_room(self) -> None:
        """Raise StorageFullError unless as much again fits on the disk."""
        parts = members_parts(self._settings)
        used = sum(await asyncio.to_thread(lambda: [set_aside.size(one) for one in parts]))
        now = await self._measured()
        needed = used + self._guard().limit(now)
        if now.free < needed:
            raise StorageFullError(
                f"{now.free >> 20} MiB are free in {self._folder}, and a new member beside the old "
                f"one's data needs {needed >> 20} MiB: enlarge the volume, or delete its claim and "
                "the pod once nobody needs the old data"
            )

    def _guard(self) -> RoomGuard:
        return RoomGuard(from_settings.node_settings(self._settings).min_free_bytes)
