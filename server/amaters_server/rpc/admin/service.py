"""AdminService: what the operator and `amaters-cli` ask of one node, on its internal listener."""

# ruff: noqa: N802 - methods have the names of the .proto file.

from collections.abc import AsyncGenerator
from typing import Protocol

from amaters.wire import admin_pb2

from amaters_server.model.errors import InvalidRequestError
from amaters_server.model.principal import ForwardedFor
from amaters_server.rpc.admin import decode as admin_decode
from amaters_server.rpc.admin import encode as admin_encode
from amaters_server.rpc.admin import streams as admin_streams
from amaters_server.rpc.admin import upkeep
from amaters_server.rpc.admin.ports import AdminParts
from amaters_server.rpc.admin.streams import OpenStreams
from amaters_server.rpc.transport.calls import Service
from amaters_server.rpc.transport.servicers import served
from amaters_server.rpc.transport.tasks import TaskScope

DEFAULT_SECONDS = 30.0
"""How long a call may take that brings no deadline."""
END_SECONDS = 1.0
"""How long a stop waits until callers have received the end of their stream."""

SERVICE = admin_pb2.DESCRIPTOR.services_by_name["AdminService"]


class Context(Protocol):
    """What the methods ask of a call."""

    @property
    def connection(self) -> int:
        """The id of its connection."""
        ...

    def time_remaining(self) -> float | None:
        """Return how long the caller still waits; None when it did not say."""
        ...


class AdminService:
    """Speaks for one node; a DatabaseError ends a call with the status that belongs to it."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts
        self._streams, self._downloads = OpenStreams(), OpenStreams()

    def methods(self, tasks: TaskScope) -> Service:
        """Return what a listener offers; the calls under way belong to the scope."""
        return served(self, SERVICE, tasks)

    async def drained(self) -> None:
        """Return once no snapshot is being downloaded."""
        await self._downloads.ended()

    async def end_streams(self) -> None:
        """End the streams that have no end; returns when the callers know, or soon."""
        self._parts.alerts.close()
        self._parts.log.close()
        await self._streams.ended(END_SECONDS)

    async def Status(
        self, request: admin_pb2.StatusRequest, context: Context
    ) -> admin_pb2.StatusResponse:
        """Answer what this node knows of itself."""
        node, certificates = self._parts.node, self._parts.certificates()
        answer = admin_encode.status(node.status(), certificates, ready=node.readiness().ok)
        answer.config_digest = self._parts.reloading.digest()
        folder = self._parts.folder
        answer.disk.CopyFrom(admin_encode.disk(await folder.usage(node.disk())))
        answer.set_aside.extend(map(admin_encode.set_aside, await folder.set_aside()))
        answer.clients.extend(map(admin_encode.clients, self._parts.clients()))
        return answer

    async def Members(
        self, request: admin_pb2.MembersRequest, context: Context
    ) -> admin_pb2.MembersResponse:
        """Answer who belongs to the cluster."""
        report = await self._parts.node.members.report(
            from_leader=request.from_leader,
            deadline=self._deadline(context),
            caller=self._caller(context),
        )
        return admin_encode.members(report)

    async def AddMember(
        self, request: admin_pb2.AddMemberRequest, context: Context
    ) -> admin_pb2.MemberResponse:
        """Add a learner."""
        if not request.peer_address:
            raise InvalidRequestError("peer_address is missing: say where the new member listens")
        added = await self._parts.node.members.add(
            request.peer_address,
            request.client_address,
            request.name,
            deadline=self._deadline(context),
            caller=self._caller(context),
        )
        return admin_pb2.MemberResponse(member=admin_encode.member(added))

    async def PromoteMember(
        self, request: admin_pb2.PromoteMemberRequest, context: Context
    ) -> admin_pb2.MemberResponse:
        """Let a learner vote."""
        promoted = await self._parts.node.members.promote(
            request.id, deadline=self._deadline(context), caller=self._caller(context)
        )
        return admin_pb2.MemberResponse(member=admin_encode.member(promoted))

    async def RemoveMember(
        self, request: admin_pb2.RemoveMemberRequest, context: Context
    ) -> admin_pb2.MembersResponse:
        """Remove a member for good."""
        report = await self._parts.node.members.remove(
            request.id, deadline=self._deadline(context), caller=self._caller(context)
        )
        return admin_encode.members(report)

    async def TransferLeadership(
        self, request: admin_pb2.TransferLeadershipRequest, context: Context
    ) -> admin_pb2.TransferLeadershipResponse:
        """Move leadership."""
        now = await self._parts.node.members.transfer(
            request.to, deadline=self._deadline(context), caller=self._caller(context)
        )
        return admin_pb2.TransferLeadershipResponse(leader_id=now.leader_id, term=now.term)

    async def CreateSnapshot(
        self, request: admin_pb2.CreateSnapshotRequest, context: Context
    ) -> admin_pb2.SnapshotResponse:
        """Write a snapshot, and upload it when asked."""
        upload = admin_decode.access(request) if request.upload else None
        created = await self._parts.backups.create(upload)
        return admin_pb2.SnapshotResponse(snapshot=admin_encode.snapshot(created))

    async def ListSnapshots(
        self, request: admin_pb2.ListSnapshotsRequest, context: Context
    ) -> admin_pb2.ListSnapshotsResponse:
        """List the snapshots here, or those in a store."""
        backups = self._parts.backups
        if request.remote:
            access = admin_decode.access(request)
            found = await backups.list_remote(access, every_cluster=request.every_cluster)
        else:
            found = await backups.list_local()
        return admin_pb2.ListSnapshotsResponse(
            snapshots=[admin_encode.snapshot(facts) for facts in found]
        )

    async def UploadSnapshot(
        self, request: admin_pb2.UploadSnapshotRequest, context: Context
    ) -> admin_pb2.UploadSnapshotResponse:
        """Upload a snapshot that is here."""
        uri = await self._parts.backups.upload(request.id, admin_decode.access(request))
        return admin_pb2.UploadSnapshotResponse(uri=uri)

    async def RestoreSnapshot(
        self, request: admin_pb2.RestoreSnapshotRequest, context: Context
    ) -> AsyncGenerator[admin_pb2.RestoreProgress, None]:
        """Load a snapshot into the cluster; goes on when the caller leaves, or fails as a whole."""
        restoring = self._parts.backups.restore(
            request.uri,
            replace=request.replace,
            remote=request.remote,
            credentials=admin_decode.credentials(request),
            collection=request.collection,
        )
        async for progress in restoring:
            yield admin_encode.restore_progress(progress)

    async def DeleteSnapshot(
        self, request: admin_pb2.DeleteSnapshotRequest, context: Context
    ) -> admin_pb2.DeleteSnapshotResponse:
        """Delete a snapshot here, or an uploaded one."""
        if request.uri:
            credentials = admin_decode.credentials(request)
            await self._parts.backups.delete_remote(request.uri, credentials)
        else:
            await self._parts.backups.delete_local(request.id)
        return admin_pb2.DeleteSnapshotResponse()

    async def Reload(
        self, request: admin_pb2.ReloadRequest, context: Context
    ) -> admin_pb2.ReloadResponse:
        """Have the process reload, and answer with its report."""
        report = await self._parts.reloading.ask()
        return admin_encode.reload_report(report, self._parts.certificates())

    async def Health(
        self, request: admin_pb2.HealthRequest, context: Context
    ) -> admin_pb2.HealthResponse:
        """Answer as `/health` does."""
        return admin_encode.health(self._parts.health())

    async def SetAside(
        self, request: admin_pb2.SetAsideRequest, context: Context
    ) -> admin_pb2.SetAsideResponse:
        """Set aside what this removed member has stored; the process restarts."""
        status = self._parts.node.status()
        await self._parts.folder.request(status, request.member_id, request.cluster_id)
        return admin_pb2.SetAsideResponse()

    async def SetFenced(
        self, request: admin_pb2.SetFencedRequest, context: Context
    ) -> admin_pb2.SetFencedResponse:
        """Fence this node, or let it lead again."""
        await self._parts.folder.set_fenced(request.fenced)
        await self._parts.node.fence(request.fenced, self._deadline(context))
        return admin_pb2.SetFencedResponse()

    async def DiscardSetAside(
        self, request: admin_pb2.DiscardSetAsideRequest, context: Context
    ) -> admin_pb2.DiscardSetAsideResponse:
        """Delete what was set aside."""
        await self._parts.folder.discard(self._parts.node.status(), request.member_id)
        return admin_pb2.DiscardSetAsideResponse()

    async def ListShards(
        self, request: admin_pb2.ListShardsRequest, context: Context
    ) -> admin_pb2.ListShardsResponse:
        """List the shards."""
        found = [admin_encode.shard(one) for one in self._parts.node.shards()]
        return admin_pb2.ListShardsResponse(shards=found)

    async def WatchAlerts(
        self, request: admin_pb2.WatchAlertsRequest, context: Context
    ) -> AsyncGenerator[admin_pb2.Alert, None]:
        """Stream the alerts of this node."""
        with self._streams.counted():
            async for alert in admin_streams.alerts(self._parts.alerts, request):
                yield alert

    async def TailLog(
        self, request: admin_pb2.TailLogRequest, context: Context
    ) -> AsyncGenerator[admin_pb2.LogRecord, None]:
        """Stream this node's log."""
        with self._streams.counted():
            async for record in admin_streams.log_records(self._parts.log, request):
                yield record

    async def DownloadSnapshot(
        self, request: admin_pb2.DownloadSnapshotRequest, context: Context
    ) -> AsyncGenerator[admin_pb2.SnapshotChunk, None]:
        """Send a snapshot that is here."""
        with self._downloads.counted():
            async for chunk in admin_streams.snapshot_chunks(self._parts.backups, request):
                yield chunk

    async def VerifyStorage(
        self, request: admin_pb2.VerifyStorageRequest, context: Context
    ) -> AsyncGenerator[admin_pb2.VerificationReport, None]:
        """Verify the disk of this node."""
        maintenance, node_id = self._parts.maintenance, self._parts.node.status().node_id
        with self._streams.counted():
            async for report in upkeep.verification_reports(maintenance, request, node_id):
                yield report

    async def CompactStorage(
        self, request: admin_pb2.CompactStorageRequest, context: Context
    ) -> AsyncGenerator[admin_pb2.CompactionReport, None]:
        """Compact the disk of this node."""
        maintenance, node_id = self._parts.maintenance, self._parts.node.status().node_id
        with self._streams.counted():
            async for report in upkeep.compaction_reports(maintenance, request, node_id):
                yield report

    async def RecentRequests(
        self, request: admin_pb2.RecentRequestsRequest, context: Context
    ) -> admin_pb2.RecentRequestsResponse:
        """Answer the last calls of clients."""
        return upkeep.recent_requests(self._parts.requests, request)

    def _caller(self, context: Context) -> ForwardedFor:
        return self._parts.caller(context.connection)

    def _deadline(self, context: Context) -> float:
        left = context.time_remaining()
        return self._parts.now() + (DEFAULT_SECONDS if left is None else left)
