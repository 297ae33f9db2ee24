"""What answers and pages are read from: traffic, amounts of data, members, disks."""

import asyncio

from amaters_server.app import from_settings
from amaters_server.app.clock import SystemClock
from amaters_server.app.files.engine import database_folder
from amaters_server.backups.stores.destinations import uploader_for
from amaters_server.config.settings import Settings
from amaters_server.http.probes import Probe, disk_probes
from amaters_server.machine import collection_count
from amaters_server.machine.machine import Machine
from amaters_server.model.errors import DatabaseError, PermissionDeniedError
from amaters_server.model.principal import ForwardedFor
from amaters_server.node.backup.backups import BackupPlaces
from amaters_server.node.backup.contents import largest_value
from amaters_server.node.node import Node
from amaters_server.node.values import MembersReport
from amaters_server.rpc.transport.listener import GrpcListener
from amaters_server.telemetry.counters import Traffic

REPORT_SECONDS = 2.0
"""Seconds a request for the members waits for the leader."""


def backup_places(settings: Settings) -> BackupPlaces:
    """Return where snapshots are kept."""
    section, s3 = settings.snapshots, from_settings.s3_settings(settings.snapshots.s3)
    return BackupPlaces(
        folder=settings.snapshot_folder,
        uploader_for=lambda place, credentials: uploader_for(place, s3, credentials),
        destination=section.destination,
        allowed=section.allowed_destinations,
        largest_value=largest_value(settings.network.max_message_bytes),
        keep_local=section.keep_local,
    )


def probes_of(settings: Settings) -> dict[str, Probe]:
    """Return what a readiness check tries on the disks; nothing for an engine in memory."""
    if settings.storage.engine == "memory":
        return {}
    log_folder = from_settings.log_folder(settings) or database_folder(settings)
    return disk_probes(settings.server.data_dir, log_folder)


class ClientTraffic:
    """The client listener's counts; the listener is made after what shows them."""

    def __init__(self) -> None:
        self.listener: GrpcListener | None = None

    def __call__(self) -> Traffic:
        """Return the counts; zeros before the listener is there."""
        return Traffic() if self.listener is None else self.listener.traffic()


class Held:
    """How much data there is, summed up off the event loop: there may be many collections.

    One sum at a time, however many ask; what has not changed since is not summed up again.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._summing = asyncio.Lock()
        self._last: tuple[int, collection_count.Holdings] | None = None

    async def __call__(self) -> collection_count.Holdings | None:
        """Return the sum over all collections; None while rows are being counted."""
        async with self._summing:
            at, counts = self._machine.applied_index, None
            if self._machine.total is not None:
                if self._last is not None and self._last[0] == at:
                    return self._last[1]
                counts = self._machine.counts()
            if counts is None:
                return None
            found = await asyncio.to_thread(collection_count.holdings, counts)
            self._last = at, found
            return found


class MemberReports:
    """The members as this node or its leader knows them; empty before there is a cluster."""

    def __init__(self, node: Node, clock: SystemClock) -> None:
        self._node = node
        self._clock = clock

    async def here(self) -> MembersReport:
        """Return what this node has applied."""
        try:
            return await self._node.members.report(from_leader=False, deadline=self._clock.now())
        except DatabaseError:
            status = self._node.status()
            return MembersReport(status.cluster_id, status.leader_id, status.term, 0)

    async def sizes(self) -> dict[int, int]:
        """Return the bytes of every member's table files, of those that answer soon."""
        try:
            members, own = self._node.members, self._node.status().node_id
        except DatabaseError:
            return {}
        return await members.table_sizes(own, REPORT_SECONDS)

    async def of_leader(self, caller: ForwardedFor | None) -> MembersReport:
        """Return the leader's word when it answers soon, and otherwise this node's."""
        deadline = self._clock.now() + REPORT_SECONDS
        try:
            return await self._node.members.report(
                from_leader=True, deadline=deadline, caller=caller
            )
        except DatabaseError as error:
            # A caller that this node does not ask may have what it knows itself.
            if caller is not None and isinstance(error, PermissionDeniedError):
                raise
            return await self.here()
