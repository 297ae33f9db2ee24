"""Verification, compaction and the last requests, as the admin service reports them."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Protocol

from amaters.wire import admin_pb2

from amaters_server.model.errors import InvalidRequestError
from amaters_server.node.maintenance.compaction import Compaction
from amaters_server.node.maintenance.verification import Verification
from amaters_server.telemetry.requests import RING_REQUESTS, RequestRing

REPORT_SECONDS = 1.0
"""Between two reports."""


class AdminMaintenance(Protocol):
    """What a node does to its own disk; `node.maintenance` has it."""

    @property
    def verification(self) -> Verification | None:
        """The verification that runs, or the last one since the start."""
        ...

    @property
    def verifying(self) -> bool:
        """Whether one runs."""
        ...

    def verify_reports(
        self, every_seconds: float, /
    ) -> AsyncGenerator[tuple[Verification, bool], None]:
        """Join or begin one, and yield how far it is, and whether it has ended."""
        ...

    def compact_reports(
        self, collection: str | None, every_seconds: float, /
    ) -> AsyncGenerator[Compaction | None, None]:
        """Join or begin one, and yield its result; None, as long as it goes on."""
        ...


async def verification_reports(
    maintenance: AdminMaintenance, request: admin_pb2.VerifyStorageRequest, node_id: int
) -> AsyncIterator[admin_pb2.VerificationReport]:
    """Begin or join a verification, and yield how far it is until it has ended."""
    if request.only_look:
        last = maintenance.verification
        if last is None:
            raise InvalidRequestError(
                "nothing was verified since this node started: `amaters-cli admin verify`"
            )
        yield verification(last, node_id, done=not maintenance.verifying)
        return
    async with aclosing(maintenance.verify_reports(REPORT_SECONDS)) as reports:
        async for found, done in reports:
            yield verification(found, node_id, done=done)


async def compaction_reports(
    maintenance: AdminMaintenance, request: admin_pb2.CompactStorageRequest, node_id: int
) -> AsyncIterator[admin_pb2.CompactionReport]:
    """Begin or join a compaction, and yield until it has ended."""
    collection = request.collection if request.HasField("collection") else None
    async with aclosing(maintenance.compact_reports(collection, REPORT_SECONDS)) as reports:
        async for made in reports:
            yield compaction(made, node_id)


def compaction(made: Compaction | None, node_id: int) -> admin_pb2.CompactionReport:
    """Return what a compaction has done as it travels; None: it goes on."""
    if made is None:
        return admin_pb2.CompactionReport(node_id=node_id)
    return admin_pb2.CompactionReport(
        done=True,
        tables_rewritten=made.tables_rewritten,
        tables_made=made.tables_made,
        bytes_before=made.bytes_before,
        bytes_after=made.bytes_after,
        seconds=made.seconds,
        node_id=node_id,
    )


def verification(found: Verification, node_id: int, *, done: bool) -> admin_pb2.VerificationReport:
    """Return a verification as it travels."""
    return admin_pb2.VerificationReport(
        done=done,
        ok=found.ok,
        complete=found.complete,
        verified_keys=found.keys,
        corrupted_keys=found.corrupted_keys,
        missing_keys=found.missing_keys,
        surplus_keys=found.surplus_keys,
        checksum_errors=found.checksum_errors,
        bytes_read=found.bytes_read,
        tables=found.tables,
        table_bytes=found.table_bytes,
        seconds=found.seconds,
        errors=[*found.errors, *([found.stopped] if done and found.stopped else [])],
        started_unix_ms=found.started_unix_ms,
        node_id=node_id,
    )


def recent_requests(
    ring: RequestRing, request: admin_pb2.RecentRequestsRequest
) -> admin_pb2.RecentRequestsResponse:
    """Return the last requests, the newest first."""
    return admin_pb2.RecentRequestsResponse(
        requests=[
            admin_pb2.RecentRequest(at_unix_ms=one.unix_ms, message=one.message)
            for one in ring.entries(request.count or RING_REQUESTS)
        ]
    )
