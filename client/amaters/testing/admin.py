# ruff: noqa: N802 - methods carry the names of the wire
"""An admin service that keeps members and snapshots in memory and changes them as asked.

    async with serve_admin() as fake:
        admin = AdminClient.connect(fake.address)

Tests arrange its state directly (`fake.status`, `fake.members`, `fake.snapshots`: messages of
the wire), plan failures with `fake.faults`, and read what was asked from `fake.calls`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, NoReturn
from zlib import crc32

import grpc
from google.protobuf.message import Message

from amaters.testing.aql import serving
from amaters.testing.faults import Context, Fault, Faults
from amaters.wire import admin_pb2
from amaters.wire.admin_pb2_grpc import add_AdminServiceServicer_to_server

REFUSED = grpc.StatusCode.FAILED_PRECONDITION
LOOK_SECONDS = 0.02
_LEVELS = ("trace", "debug", "info", "warning", "error", "critical")


class FakeAdmin:
    """One node of a cluster that exists only here; it is the leader unless a test says no."""

    def __init__(self) -> None:
        self.address = ""
        self.faults = Faults()
        self.calls: list[tuple[str, Message]] = []
        self.status = admin_pb2.StatusResponse(
            node_id=1,
            name="one",
            state=admin_pb2.NODE_STATE_LEADER,
            is_leader=True,
            leader_id=1,
            cluster_id="c0ffee",
            term=3,
            commit_index=40,
            applied_index=40,
            last_log_index=40,
            num_nodes=1,
            num_shards=1,
            version="0.3.0",
            ready=True,
        )
        self.members: dict[int, admin_pb2.Member] = {}
        self.snapshots: dict[int, admin_pb2.Snapshot] = {}
        self.uploaded: dict[str, admin_pb2.Snapshot] = {}
        self.restore_script: list[admin_pb2.RestoreProgress] = []
        self.reload_report = admin_pb2.ReloadResponse(success=True)
        self.health = admin_pb2.HealthResponse(status="healthy", alive=True, ready=True)
        self.alerts: list[admin_pb2.Alert] = []
        self.log = [admin_pb2.LogRecord(level="info", event="server.started")]
        self.verifications: list[admin_pb2.VerificationReport] = []
        self.compactions = [admin_pb2.CompactionReport(done=True, node_id=1)]
        self.requests: list[admin_pb2.RecentRequest] = []
        """The newest first."""
        self.stopped = False
        """Set to end the streams of those who follow; any thread may."""
        self.put_member(1, started=True, is_leader=True, match_index=40, recent_active=True)
        self._highest_id = 1

    def put_member(self, member_id: int, **fields: Any) -> admin_pb2.Member:  # noqa: ANN401
        """Arrange a member; what is not given is made up from its id."""
        defaults = {
            "name": f"node-{member_id}",
            "peer_address": f"node-{member_id}:7879",
            "client_address": f"node-{member_id}:7878",
            "version": "0.3.0",
        }
        self.members[member_id] = admin_pb2.Member(id=member_id, **{**defaults, **fields})
        self._highest_id = max(getattr(self, "_highest_id", 0), member_id)
        return self.members[member_id]

    async def Status(
        self, request: admin_pb2.StatusRequest, context: Context
    ) -> admin_pb2.StatusResponse:
        """Answer what the test arranged."""
        await self._enter("Status", request, context)
        return self.status

    async def Members(
        self, request: admin_pb2.MembersRequest, context: Context
    ) -> admin_pb2.MembersResponse:
        """List the members."""
        await self._enter("Members", request, context)
        return self._listed()

    async def AddMember(
        self, request: admin_pb2.AddMemberRequest, context: Context
    ) -> admin_pb2.MemberResponse:
        """Add a learner under the next id; an address that is taken is refused."""
        await self._enter("AddMember", request, context)
        if any(one.peer_address == request.peer_address for one in self.members.values()):
            await self._refuse(context, f"{request.peer_address} is a member already")
        added = self.put_member(
            self._highest_id + 1,
            peer_address=request.peer_address,
            client_address=request.client_address,
            name=request.name,
            is_learner=True,
        )
        return admin_pb2.MemberResponse(member=added)

    async def PromoteMember(
        self, request: admin_pb2.PromoteMemberRequest, context: Context
    ) -> admin_pb2.MemberResponse:
        """Make a started learner a voter."""
        await self._enter("PromoteMember", request, context)
        learner = await self._known(request.id, context)
        if not learner.started:
            await self._refuse(context, f"member {request.id} has not started: promote it later")
        learner.is_learner = False
        return admin_pb2.MemberResponse(member=learner)

    async def RemoveMember(
        self, request: admin_pb2.RemoveMemberRequest, context: Context
    ) -> admin_pb2.MembersResponse:
        """Remove a member; its id is not used again."""
        await self._enter("RemoveMember", request, context)
        await self._known(request.id, context)
        del self.members[request.id]
        return self._listed()

    async def SetAside(
        self, request: admin_pb2.SetAsideRequest, context: Context
    ) -> admin_pb2.SetAsideResponse:
        """Become an empty node, if this one is that member and was removed."""
        await self._enter("SetAside", request, context)
        mine = (self.status.node_id, self.status.cluster_id)
        removed = self.status.state == admin_pb2.NODE_STATE_REMOVED
        if mine != (request.member_id, request.cluster_id) or not removed:
            await context.abort(REFUSED, "nothing was set aside", ())
        self.status.set_aside.add(member_id=request.member_id, size_bytes=4096)
        self.status.node_id, self.status.state = 0, admin_pb2.NODE_STATE_WAITING
        return admin_pb2.SetAsideResponse()

    async def SetFenced(
        self, request: admin_pb2.SetFencedRequest, context: Context
    ) -> admin_pb2.SetFencedResponse:
        """Record whether the node is fenced."""
        await self._enter("SetFenced", request, context)
        self.status.fenced = request.fenced
        return admin_pb2.SetFencedResponse()

    async def DiscardSetAside(
        self, request: admin_pb2.DiscardSetAsideRequest, context: Context
    ) -> admin_pb2.DiscardSetAsideResponse:
        """Forget what was set aside."""
        await self._enter("DiscardSetAside", request, context)
        kept = [one for one in self.status.set_aside if one.member_id != request.member_id]
        del self.status.set_aside[:]
        self.status.set_aside.extend(kept)
        return admin_pb2.DiscardSetAsideResponse()

    async def TransferLeadership(
        self, request: admin_pb2.TransferLeadershipRequest, context: Context
    ) -> admin_pb2.TransferLeadershipResponse:
        """Let that member, or the voter with the highest match index, lead from now on."""
        await self._enter("TransferLeadership", request, context)
        voters = [one for one in self.members.values() if not one.is_learner]
        chosen = request.to or max(voters, key=lambda one: one.match_index).id
        await self._known(chosen, context)
        for one in self.members.values():
            one.is_leader = one.id == chosen
        self.status.leader_id = chosen
        self.status.is_leader = self.status.node_id == chosen
        self.status.term += 1
        return admin_pb2.TransferLeadershipResponse(leader_id=chosen, term=self.status.term)

    async def CreateSnapshot(
        self, request: admin_pb2.CreateSnapshotRequest, context: Context
    ) -> admin_pb2.SnapshotResponse:
        """Add a snapshot at the applied index."""
        await self._enter("CreateSnapshot", request, context)
        created = admin_pb2.Snapshot(
            id=len(self.snapshots) + 1,
            timestamp_ms=1_750_000_000_000 + len(self.snapshots),
            size_bytes=1024,
            original_size_bytes=4096,
            applied_index=self.status.applied_index,
            term=self.status.term,
            key_count=12,
            cluster_id=self.status.cluster_id,
        )
        self.snapshots[created.id] = created
        if request.upload:
            self._upload(created, request.destination)
        return admin_pb2.SnapshotResponse(snapshot=created)

    async def ListSnapshots(
        self, request: admin_pb2.ListSnapshotsRequest, context: Context
    ) -> admin_pb2.ListSnapshotsResponse:
        """List local or uploaded snapshots."""
        await self._enter("ListSnapshots", request, context)
        found = list((self.uploaded if request.remote else self.snapshots).values())
        if request.remote and not request.every_cluster:
            found = [one for one in found if one.cluster_id == self.status.cluster_id]
        return admin_pb2.ListSnapshotsResponse(snapshots=found)

    async def UploadSnapshot(
        self, request: admin_pb2.UploadSnapshotRequest, context: Context
    ) -> admin_pb2.UploadSnapshotResponse:
        """Pretend to upload one that exists."""
        await self._enter("UploadSnapshot", request, context)
        if request.id not in self.snapshots:
            await self._no_snapshot(context, f"there is no snapshot {request.id}")
        uri = self._upload(self.snapshots[request.id], request.destination)
        return admin_pb2.UploadSnapshotResponse(uri=uri)

    async def RestoreSnapshot(
        self, request: admin_pb2.RestoreSnapshotRequest, context: Context
    ) -> AsyncIterator[admin_pb2.RestoreProgress]:
        """Stream the progress that the test arranged."""
        await self._enter("RestoreSnapshot", request, context)
        for progress in self.restore_script:
            yield progress
        await self.faults.strike("RestoreSnapshot.end", context)

    async def DeleteSnapshot(
        self, request: admin_pb2.DeleteSnapshotRequest, context: Context
    ) -> admin_pb2.DeleteSnapshotResponse:
        """Forget a snapshot; absent ones are not found."""
        await self._enter("DeleteSnapshot", request, context)
        shelf: dict[Any, admin_pb2.Snapshot] = self.uploaded if request.uri else self.snapshots
        if shelf.pop(request.uri or request.id, None) is None:
            await self._no_snapshot(context, "there is no such snapshot")
        return admin_pb2.DeleteSnapshotResponse()

    async def DownloadSnapshot(
        self, request: admin_pb2.DownloadSnapshotRequest, context: Context
    ) -> AsyncIterator[admin_pb2.SnapshotChunk]:
        """Hand out a made-up file of the size that is listed, in two chunks."""
        await self._enter("DownloadSnapshot", request, context)
        chosen = request.id or max(self.snapshots, default=0)
        if chosen not in self.snapshots:
            await self._no_snapshot(context, f"there is no snapshot {chosen}")
        content = bytes(self.snapshots[chosen].size_bytes)
        half = len(content) // 2
        for offset, data in ((0, content[:half]), (half, content[half:])):
            yield admin_pb2.SnapshotChunk(
                snapshot_id=chosen,
                offset=offset,
                data=data,
                crc32=crc32(data),
                total_bytes=len(content),
                sha256=sha256(content).hexdigest() if offset else "",
            )
        await self.faults.strike("DownloadSnapshot.end", context)

    async def Health(
        self, request: admin_pb2.HealthRequest, context: Context
    ) -> admin_pb2.HealthResponse:
        """Answer what the test arranged."""
        await self._enter("Health", request, context)
        return self.health

    async def ListShards(
        self, request: admin_pb2.ListShardsRequest, context: Context
    ) -> admin_pb2.ListShardsResponse:
        """List the one shard, on all voters."""
        await self._enter("ListShards", request, context)
        shard = admin_pb2.Shard(
            id=1,
            range=admin_pb2.KeyRange(),
            state=admin_pb2.SHARD_STATE_ACTIVE,
            node_id=self.status.leader_id,
            replicas=[one.id for one in self.members.values() if not one.is_learner],
            estimated_keys=12,
            estimated_size_bytes=4096,
        )
        return admin_pb2.ListShardsResponse(shards=[shard])

    async def WatchAlerts(
        self, request: admin_pb2.WatchAlertsRequest, context: Context
    ) -> AsyncIterator[admin_pb2.Alert]:
        """Stream the alerts that the test arranged; with `follow`, until `stopped` is set."""
        await self._enter("WatchAlerts", request, context)
        for alert in self.alerts[-request.recent :] if request.recent else self.alerts:
            yield alert
        if request.follow:
            await self._until_stopped()

    async def TailLog(
        self, request: admin_pb2.TailLogRequest, context: Context
    ) -> AsyncIterator[admin_pb2.LogRecord]:
        """Stream the log that the test arranged, as above."""
        await self._enter("TailLog", request, context)
        if request.level and request.level not in _LEVELS:
            await Fault(
                status=REFUSED,
                details=f"{request.level!r} is no level",
                server_code="invalid_request",
            ).befall(context)
        least = _LEVELS.index(request.level) if request.level else 0
        found = [one for one in self.log if _LEVELS.index(one.level) >= least]
        for record in found[-request.lines :] if request.lines else found:
            yield record
        if request.follow:
            await self._until_stopped()

    async def Reload(
        self, request: admin_pb2.ReloadRequest, context: Context
    ) -> admin_pb2.ReloadResponse:
        """Answer the report the test arranged."""
        await self._enter("Reload", request, context)
        return self.reload_report

    async def VerifyStorage(
        self, request: admin_pb2.VerifyStorageRequest, context: Context
    ) -> AsyncIterator[admin_pb2.VerificationReport]:
        """Report what the test arranged; without that a look finds nothing, and a disk is whole."""
        await self._enter("VerifyStorage", request, context)
        if request.only_look and not self.verifications:
            await Fault(
                status=grpc.StatusCode.INVALID_ARGUMENT,
                details="nothing was verified since this node started",
                server_code="invalid_request",
            ).befall(context)
        self.verifications = self.verifications or [
            admin_pb2.VerificationReport(done=True, ok=True, complete=True, node_id=1)
        ]
        for report in self.verifications[-1:] if request.only_look else self.verifications:
            yield report

    async def CompactStorage(
        self, request: admin_pb2.CompactStorageRequest, context: Context
    ) -> AsyncIterator[admin_pb2.CompactionReport]:
        """Report what the test arranged."""
        await self._enter("CompactStorage", request, context)
        for report in self.compactions:
            yield report

    async def RecentRequests(
        self, request: admin_pb2.RecentRequestsRequest, context: Context
    ) -> admin_pb2.RecentRequestsResponse:
        """Answer what the test arranged, the newest first."""
        await self._enter("RecentRequests", request, context)
        found = self.requests[: request.count or None]
        return admin_pb2.RecentRequestsResponse(requests=found)

    async def _enter(self, method: str, request: Message, context: Context) -> None:
        self.calls.append((method, request))
        await self.faults.strike(method, context)

    async def _until_stopped(self) -> None:
        while not self.stopped:  # noqa: ASYNC110 - tests set it from other threads
            await asyncio.sleep(LOOK_SECONDS)

    async def _known(self, member_id: int, context: Context) -> admin_pb2.Member:
        if member_id not in self.members:
            await self._refuse(context, f"there is no member {member_id}: list the members")
        return self.members[member_id]

    async def _refuse(self, context: Context, why: str) -> NoReturn:
        await Fault(status=REFUSED, details=why, server_code="membership").befall(context)

    async def _no_snapshot(self, context: Context, why: str) -> NoReturn:
        await Fault(status=REFUSED, details=why, server_code="snapshot").befall(context)

    def _listed(self) -> admin_pb2.MembersResponse:
        return admin_pb2.MembersResponse(
            cluster_id=self.status.cluster_id,
            leader_id=self.status.leader_id,
            term=self.status.term,
            commit_index=self.status.commit_index,
            members=self.members.values(),
        )

    def _upload(self, snapshot: admin_pb2.Snapshot, destination: str) -> str:
        snapshot.uri = f"{destination or 's3://bucket/prefix'}/{snapshot.id:020d}.snapshot"
        self.uploaded[snapshot.uri] = snapshot
        return snapshot.uri


@asynccontextmanager
async def serve_admin(
    fake: FakeAdmin | None = None,
    *,
    address: str = "127.0.0.1:0",
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[FakeAdmin]:
    """Serve the fake on that address (port 0: any free one) for as long as the context lasts."""
    fake = fake or FakeAdmin()
    server = grpc.aio.server()
    add_AdminServiceServicer_to_server(fake, server)  # type: ignore[arg-type]
    async with serving(server, address, credentials) as fake.address:
        yield fake
