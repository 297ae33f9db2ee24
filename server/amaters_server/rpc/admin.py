"""AdminService: what the operator and `amaters-cli` ask of one node, on its internal listener."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio
from amaters.wire import admin_pb2, admin_pb2_grpc
from typing_extensions import override

from amaters_server.model.errors import DatabaseError, InvalidRequestError
from amaters_server.rpc import admin_encode, status
from amaters_server.rpc.admin_ports import AdminParts
from amaters_server.rpc.grpcio import abort

DEFAULT_SECONDS = 30.0
"""How long a call may take that brings no deadline."""

# The published stubs are generic where the classes themselves are not: hence the quotes.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Service = TypeVar("Service")
Request = TypeVar("Request")
Response = TypeVar("Response")


def answering(
    method: Callable[[Service, Request, Context], Awaitable[Response]],
) -> Callable[[Service, Request, Context], Awaitable[Response]]:
    """End the call with the status that belongs to the error the method raises."""

    @wraps(method)
    async def answer(service: Service, request: Request, context: Context) -> Response:
        try:
            return await method(service, request, context)
        except DatabaseError as error:
            _, code, text, trailers = status.failure(0, error)
            await abort(context, code, text, trailers)
            raise

    return answer


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Speaks for one node."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        admin_pb2_grpc.add_AdminServiceServicer_to_server(self, server)

    @override
    @answering
    async def Status(
        self, request: admin_pb2.StatusRequest, context: Context
    ) -> admin_pb2.StatusResponse:
        """Answer what this node knows of itself."""
        node, certificates = self._parts.node, self._parts.certificates()
        answer = admin_encode.status(node.status(), certificates, ready=node.readiness().ok)
        answer.config_digest = self._parts.reloading.digest()
        return answer

    @override
    @answering
    async def Members(
        self, request: admin_pb2.MembersRequest, context: Context
    ) -> admin_pb2.MembersResponse:
        """Answer who belongs to the cluster."""
        report = await self._parts.members.report(
            from_leader=request.from_leader, deadline=self._deadline(context)
        )
        return admin_encode.members(report)

    @override
    @answering
    async def AddMember(
        self, request: admin_pb2.AddMemberRequest, context: Context
    ) -> admin_pb2.MemberResponse:
        """Add a learner."""
        if not request.peer_address:
            raise InvalidRequestError("peer_address is missing: say where the new member listens")
        added = await self._parts.members.add(
            request.peer_address,
            request.client_address,
            request.name,
            deadline=self._deadline(context),
        )
        return admin_pb2.MemberResponse(member=admin_encode.member(added))

    @override
    @answering
    async def PromoteMember(
        self, request: admin_pb2.PromoteMemberRequest, context: Context
    ) -> admin_pb2.MemberResponse:
        """Let a learner vote."""
        promoted = await self._parts.members.promote(request.id, deadline=self._deadline(context))
        return admin_pb2.MemberResponse(member=admin_encode.member(promoted))

    @override
    @answering
    async def RemoveMember(
        self, request: admin_pb2.RemoveMemberRequest, context: Context
    ) -> admin_pb2.MembersResponse:
        """Remove a member for good."""
        report = await self._parts.members.remove(request.id, deadline=self._deadline(context))
        return admin_encode.members(report)

    @override
    @answering
    async def TransferLeadership(
        self, request: admin_pb2.TransferLeadershipRequest, context: Context
    ) -> admin_pb2.TransferLeadershipResponse:
        """Move leadership."""
        now = await self._parts.members.transfer(request.to, deadline=self._deadline(context))
        return admin_pb2.TransferLeadershipResponse(leader_id=now.leader_id, term=now.term)

    @override
    @answering
    async def CreateSnapshot(
        self, request: admin_pb2.CreateSnapshotRequest, context: Context
    ) -> admin_pb2.SnapshotResponse:
        """Write a snapshot, and upload it when asked."""
        created = admin_encode.snapshot(await self._parts.backups.create())
        if request.upload:
            created.uri = await self._parts.backups.upload(created.id, request.destination)
        return admin_pb2.SnapshotResponse(snapshot=created)

    @override
    @answering
    async def ListSnapshots(
        self, request: admin_pb2.ListSnapshotsRequest, context: Context
    ) -> admin_pb2.ListSnapshotsResponse:
        """List the snapshots here, or those in a store."""
        backups = self._parts.backups
        if request.remote:
            found = await backups.list_remote(request.destination)
        else:
            found = await backups.list_local()
        return admin_pb2.ListSnapshotsResponse(
            snapshots=[admin_encode.snapshot(facts) for facts in found]
        )

    @override
    @answering
    async def UploadSnapshot(
        self, request: admin_pb2.UploadSnapshotRequest, context: Context
    ) -> admin_pb2.UploadSnapshotResponse:
        """Upload a snapshot that is here."""
        uri = await self._parts.backups.upload(request.id, request.destination)
        return admin_pb2.UploadSnapshotResponse(uri=uri)

    @override
    async def RestoreSnapshot(
        self, request: admin_pb2.RestoreSnapshotRequest, context: Context
    ) -> AsyncIterator[admin_pb2.RestoreProgress]:
        """Load a snapshot into the cluster; goes on when the caller leaves, or fails as a whole."""
        try:
            restoring = self._parts.backups.restore(request.uri, replace=request.replace)
            async for progress in restoring:
                yield admin_pb2.RestoreProgress(
                    keys_restored=progress.keys_restored,
                    keys_total=progress.keys_total,
                    bytes_restored=progress.bytes_restored,
                    done=progress.done,
                )
        except DatabaseError as error:
            _, code, text, trailers = status.failure(0, error)
            await abort(context, code, text, trailers)

    @override
    @answering
    async def DeleteSnapshot(
        self, request: admin_pb2.DeleteSnapshotRequest, context: Context
    ) -> admin_pb2.DeleteSnapshotResponse:
        """Delete a snapshot here, or an uploaded one."""
        if request.uri:
            await self._parts.backups.delete_remote(request.uri)
        else:
            await self._parts.backups.delete_local(request.id)
        return admin_pb2.DeleteSnapshotResponse()

    @override
    @answering
    async def Reload(
        self, request: admin_pb2.ReloadRequest, context: Context
    ) -> admin_pb2.ReloadResponse:
        """Have the process reload, and answer with its report."""
        report = await self._parts.reloading.ask()
        return admin_encode.reload_report(report, self._parts.certificates())

    def _deadline(self, context: Context) -> float:
        left = seconds_left(context)
        return self._parts.now() + (DEFAULT_SECONDS if left is None else left)


def seconds_left(context: Context) -> float | None:
    """Return how long the caller waits; None when it did not say."""
    return context.time_remaining()
