"""The admin service of one node as an async client: what the operator and the CLI are built on.

    async with AdminClient.connect("127.0.0.1:7879") as admin:
        print(await admin.status())

Answers are the frozen values of `amaters.admin.cluster`; failures are those of `amaters.errors`.
Messages of protobuf and gRPC stay inside. Nothing is retried: callers that manage a cluster check
its state before they ask again.
"""

from collections.abc import AsyncIterator
from datetime import timedelta

from amaters.admin import codec as admin_codec
from amaters.admin import maintenance, observation_codec
from amaters.admin.calls import DEFAULT_TIMEOUT as DEFAULT_TIMEOUT
from amaters.admin.calls import AdminCalls
from amaters.admin.cluster import (
    ClusterMembers,
    Leadership,
    MemberInfo,
    NodeStatus,
    ReloadReport,
    RestoreProgress,
    SnapshotInfo,
    StoreCredentials,
)
from amaters.admin.downloads import DownloadCheck
from amaters.admin.maintenance import CompactionReport, RecentRequest, VerificationReport
from amaters.admin.observations import Alert, LogRecord, NodeHealth, ShardInfo, SnapshotChunk
from amaters.transport import status
from amaters.wire import admin_pb2

SNAPSHOT_TIMEOUT = timedelta(minutes=30)
"""For calls that move all the data: creating, uploading and restoring backups."""
DISK_TIMEOUT = timedelta(hours=24)
"""For calls that read or rewrite a whole disk, which goes on when they end."""


class AdminClient(AdminCalls):
    """One node's admin service. Make it with `connect`, and close it or use it as a context."""

    async def status(self) -> NodeStatus:
        """Return the node's own status; every node answers, even without a leader."""
        answer = await self._ask(lambda to: to.Status, admin_pb2.StatusRequest())
        return admin_codec.node_status(answer)

    async def members(self, *, from_leader: bool = True) -> ClusterMembers:
        """List the members; match and lag are exact only when the leader reports them."""
        request = admin_pb2.MembersRequest(from_leader=from_leader)
        return admin_codec.members(await self._ask(lambda to: to.Members, request))

    async def add_member(
        self, *, peer_address: str, client_address: str, name: str = ""
    ) -> MemberInfo:
        """Add a learner; returns once the change is committed."""
        request = admin_pb2.AddMemberRequest(
            peer_address=peer_address, client_address=client_address, name=name
        )
        return admin_codec.member((await self._change(lambda to: to.AddMember, request)).member)

    async def promote_member(self, member_id: int) -> MemberInfo:
        """Make a learner a voter; refused while it is not caught up."""
        request = admin_pb2.PromoteMemberRequest(id=member_id)
        return admin_codec.member((await self._change(lambda to: to.PromoteMember, request)).member)

    async def remove_member(self, member_id: int) -> ClusterMembers:
        """Remove a member for good: its id is never used again."""
        request = admin_pb2.RemoveMemberRequest(id=member_id)
        return admin_codec.members(await self._change(lambda to: to.RemoveMember, request))

    async def set_aside(self, member_id: int, *, cluster_id: str) -> None:
        """Have the node set aside all that it stored as this removed member, and start again empty.

        The node restarts after its answer. Refused unless it is that member and was removed, and
        without room for as much data again.
        """
        request = admin_pb2.SetAsideRequest(member_id=member_id, cluster_id=cluster_id)
        await self._change(lambda to: to.SetAside, request)

    async def set_fenced(self, fenced: bool) -> None:  # noqa: FBT001 - it says what it sets
        """Keep the node from being ready, and from leading as long as another voter can.

        Or no longer. It outlives restarts. A fenced node follows and votes.
        """
        request = admin_pb2.SetFencedRequest(fenced=fenced)
        await self._change(lambda to: to.SetFenced, request)

    async def discard_set_aside(self, member_id: int) -> None:
        """Delete for good what that removed member has left on the node's disk."""
        request = admin_pb2.DiscardSetAsideRequest(member_id=member_id)
        await self._change(lambda to: to.DiscardSetAside, request)

    async def transfer_leadership(self, to: int | None = None) -> Leadership:
        """Transfer leadership to that member, or to the most caught-up voter, and wait for it."""
        request = admin_pb2.TransferLeadershipRequest(to=to or 0)
        answer = await self._change(lambda to: to.TransferLeadership, request)
        return Leadership(leader_id=answer.leader_id, term=answer.term)

    async def create_snapshot(
        self,
        *,
        upload: bool = False,
        destination: str = "",
        timeout: timedelta = SNAPSHOT_TIMEOUT,
        keys: StoreCredentials | None = None,
    ) -> SnapshotInfo:
        """Write a backup of the data on that node, and upload it when asked.

        An empty destination is the store the node is configured with, and without `keys` it uses
        those that it has. What is returned was read back by the node.
        """
        request = admin_pb2.CreateSnapshotRequest(
            upload=upload,
            destination=destination,
            credentials=admin_codec.store_credentials(keys),
        )
        answer = await self._change(lambda to: to.CreateSnapshot, request, timeout=timeout)
        return admin_codec.snapshot(answer.snapshot)

    async def list_snapshots(
        self,
        *,
        remote: bool = False,
        destination: str = "",
        every_cluster: bool = False,
        keys: StoreCredentials | None = None,
    ) -> tuple[SnapshotInfo, ...]:
        """List the node's own backups, or those in a store, oldest first: by id, not by a clock.

        Of a store, those of the node's cluster only, unless `every_cluster` is set.
        """
        request = admin_pb2.ListSnapshotsRequest(
            remote=remote,
            destination=destination,
            every_cluster=every_cluster,
            credentials=admin_codec.store_credentials(keys),
        )
        answer = await self._ask(lambda to: to.ListSnapshots, request)
        found = [admin_codec.snapshot(one) for one in answer.snapshots]
        return tuple(sorted(found, key=lambda one: (one.id, one.uri)))

    async def upload_snapshot(
        self,
        snapshot_id: int,
        *,
        destination: str = "",
        timeout: timedelta = SNAPSHOT_TIMEOUT,
        keys: StoreCredentials | None = None,
    ) -> str:
        """Upload a backup the node holds; return the URI to restore it from."""
        request = admin_pb2.UploadSnapshotRequest(
            id=snapshot_id,
            destination=destination,
            credentials=admin_codec.store_credentials(keys),
        )
        return (await self._change(lambda to: to.UploadSnapshot, request, timeout=timeout)).uri

    async def delete_snapshot(
        self, snapshot_id: int = 0, *, uri: str = "", keys: StoreCredentials | None = None
    ) -> None:
        """Delete a backup the node holds, or the uploaded one at that URI."""
        request = admin_pb2.DeleteSnapshotRequest(
            id=snapshot_id, uri=uri, credentials=admin_codec.store_credentials(keys)
        )
        await self._change(lambda to: to.DeleteSnapshot, request)

    async def restore_snapshot(
        self,
        uri: str,
        *,
        replace: bool = False,
        remote: bool = False,
        timeout: timedelta = SNAPSHOT_TIMEOUT,
        keys: StoreCredentials | None = None,
        collection: str = "",
    ) -> AsyncIterator[RestoreProgress]:
        """Restore a backup into the cluster and report the progress; the last report is `done`.

        `uri` is what a backup was made to, or what came of it: a place, whose newest is meant, the
        URI of one, an id or `newest`; with `remote` the id is one in the configured store. A folder
        with a backup of AmateRS is imported: its keys go into `collection` (empty: `default`).
        Refused when the cluster holds data, unless `replace` is set. A stream that ends before
        `done` raises OutcomeUnknownError.
        """
        request = admin_pb2.RestoreSnapshotRequest(
            uri=uri,
            replace=replace,
            remote=remote,
            credentials=admin_codec.store_credentials(keys),
            collection=collection,
        )
        done = False
        async for progress in self._follow(
            lambda to: to.RestoreSnapshot, request, timeout, changing=True
        ):
            done = progress.done
            yield admin_codec.restore_progress(progress)
        if not done:
            why = "the restore's progress ended before it was done"
            raise status.lost_change(why, self.address)

    async def download_snapshot(
        self, snapshot_id: int = 0, *, timeout: timedelta = SNAPSHOT_TIMEOUT
    ) -> AsyncIterator[SnapshotChunk]:
        """Read a backup file the node holds (0: the newest), verified as it arrives.

        ProtocolError when it is not whole: what came before is then of no use.
        """
        request = admin_pb2.DownloadSnapshotRequest(id=snapshot_id)
        check = DownloadCheck()
        async for chunk in self._follow(lambda to: to.DownloadSnapshot, request, timeout):
            check.take(chunk)
            yield observation_codec.snapshot_chunk(chunk)
        check.end()

    async def health(self) -> NodeHealth:
        """Return whether the node is alive, ready and healthy, and the results of its probes."""
        answer = await self._ask(lambda to: to.Health, admin_pb2.HealthRequest())
        return observation_codec.health(answer)

    async def shards(self) -> tuple[ShardInfo, ...]:
        """List the shards; none while the node belongs to no cluster."""
        answer = await self._ask(lambda to: to.ListShards, admin_pb2.ListShardsRequest())
        return tuple(observation_codec.shard(one) for one in answer.shards)

    async def alerts(self, *, recent: int = 0, follow: bool = False) -> AsyncIterator[Alert]:
        """Read the alerts that node has fired, the oldest first (0: all it keeps).

        With `follow`, further ones as they are fired; the stream ends when the node stops.
        """
        request = admin_pb2.WatchAlertsRequest(recent=recent, follow=follow)
        async for one in self._follow(
            lambda to: to.WatchAlerts, request, None if follow else self._timeout
        ):
            yield observation_codec.alert(one)

    async def log(
        self, *, lines: int = 0, follow: bool = False, level: str = ""
    ) -> AsyncIterator[LogRecord]:
        """Read the last records of that node's log (0: all it keeps), of that level or worse.

        With `follow`, further ones as they are logged; the stream ends when the node stops.
        """
        request = admin_pb2.TailLogRequest(lines=lines, follow=follow, level=level)
        async for one in self._follow(
            lambda to: to.TailLog, request, None if follow else self._timeout
        ):
            yield observation_codec.log_record(one)

    async def reload(self) -> ReloadReport:
        """Have the node reload its configuration and certificates."""
        answer = await self._change(lambda to: to.Reload, admin_pb2.ReloadRequest())
        return admin_codec.reload_report(answer)

    async def verify_storage(
        self, *, only_look: bool = False, timeout: timedelta = DISK_TIMEOUT
    ) -> AsyncIterator[VerificationReport]:
        """Have the node compare everything on its disk with every checksum; the last is `done`.

        Joins a verification that runs, which goes on when this ends. With `only_look` none is
        begun: the report of the last one; InvalidRequestError when there was none.
        """
        request = admin_pb2.VerifyStorageRequest(only_look=only_look)
        async for one in self._follow(lambda to: to.VerifyStorage, request, timeout):
            yield maintenance.verification_report(one)

    async def compact_storage(
        self, collection: str | None = None, *, timeout: timedelta = DISK_TIMEOUT
    ) -> AsyncIterator[CompactionReport]:
        """Have the node rewrite its files, of one collection or all; the last report is `done`.

        Joins a compaction that runs, which goes on when this ends.
        """
        request = admin_pb2.CompactStorageRequest(collection=collection)
        async for one in self._follow(lambda to: to.CompactStorage, request, timeout):
            yield maintenance.compaction_report(one)

    async def recent_requests(self, count: int = 0) -> tuple[RecentRequest, ...]:
        """Return the last calls of clients that the node has answered, the newest first (0: all)."""
        request = admin_pb2.RecentRequestsRequest(count=count)
        answer = await self._ask(lambda to: to.RecentRequests, request)
        return tuple(maintenance.recent_request(one) for one in answer.requests)
