"""What a node does to its own disk, and was asked last: frozen values, and how they are read."""

from dataclasses import dataclass
from datetime import datetime

from amaters.admin.codec import timestamp
from amaters.wire import admin_pb2


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """How far a verification of one node's disk is, and what it has found."""

    done: bool
    ok: bool
    """Everything was read, and nothing is wrong."""
    complete: bool
    """Everything was read, or found to be unreadable."""
    verified_keys: int
    corrupted_keys: int
    """Values that do not match the checksum of their writer."""
    missing_keys: int
    """Keys that were counted when they were written, and not found; known at the end."""
    surplus_keys: int
    """Keys that were found and not counted; known at the end."""
    checksum_errors: int
    """Blocks or files of the engine that are unreadable."""
    bytes_read: int
    """Uncompressed."""
    tables: int
    table_bytes: int
    seconds: float
    errors: tuple[str, ...]
    """The first faults, in words."""
    started_at: datetime
    node_id: int


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What a compaction of one node's disk has done; numbers are known when it is `done`."""

    done: bool
    tables_rewritten: int
    tables_made: int
    bytes_before: int
    bytes_after: int
    seconds: float
    node_id: int


@dataclass(frozen=True, slots=True)
class RecentRequest:
    """One call of a client that a node has answered."""

    at: datetime
    message: str
    """As published: `ExecuteQuery elapsed=3ms ok`."""


def verification_report(message: admin_pb2.VerificationReport) -> VerificationReport:
    """Read how far a verification is."""
    return VerificationReport(
        done=message.done,
        ok=message.ok,
        complete=message.complete,
        verified_keys=message.verified_keys,
        corrupted_keys=message.corrupted_keys,
        missing_keys=message.missing_keys,
        surplus_keys=message.surplus_keys,
        checksum_errors=message.checksum_errors,
        bytes_read=message.bytes_read,
        tables=message.tables,
        table_bytes=message.table_bytes,
        seconds=message.seconds,
        errors=tuple(message.errors),
        started_at=timestamp(message.started_unix_ms / 1000),
        node_id=message.node_id,
    )


def compaction_report(message: admin_pb2.CompactionReport) -> CompactionReport:
    """Read what a compaction has done."""
    return CompactionReport(
        done=message.done,
        tables_rewritten=message.tables_rewritten,
        tables_made=message.tables_made,
        bytes_before=message.bytes_before,
        bytes_after=message.bytes_after,
        seconds=message.seconds,
        node_id=message.node_id,
    )


def recent_request(message: admin_pb2.RecentRequest) -> RecentRequest:
    """Read one call."""
    return RecentRequest(timestamp(message.at_unix_ms / 1000), message.message)
