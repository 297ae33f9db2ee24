"""VERIFY and COMPACT: what a node does to its own disk when it is asked."""

from amaters_server.model.errors import InvalidRequestError, NotReadyError
from amaters_server.node.maintenance.verification import Verification
from amaters_server.rpc.aql.commands.cluster import moment
from amaters_server.rpc.aql.commands.line import shown
from amaters_server.rpc.aql.commands.sources import Asked, Facts, Sources

STATUS = "status"
ALL = "all"
"""What the published command line sends where no collection is named."""


async def verify(sources: Sources, asked: Asked) -> Facts:
    """Answer VERIFY: begin one, or join the one that runs. `VERIFY status` only looks."""
    words = asked.line.at_most(1)
    if words and words[0].lower() != STATUS:
        raise InvalidRequestError(
            f"VERIFY {shown(words[0])} is unknown: write VERIFY, or VERIFY status for the last "
            "result"
        )
    maintenance = sources.maintenance
    found = maintenance.verification if words else await maintenance.verify(asked.seconds)
    if found is None:
        raise InvalidRequestError("nothing was verified since this node started: begin with VERIFY")
    return _verified(sources, asked, found, running=maintenance.verifying)


def _verified(sources: Sources, asked: Asked, found: Verification, *, running: bool) -> Facts:
    began = found.started_unix_ms / 1000
    errors = list(found.errors)
    if running:
        errors.append(
            f"not finished: {found.bytes_read} bytes were read; send VERIFY again for the result"
        )
    elif not found.complete and not errors:
        errors.append(f"not finished, {found.stopped or 'it broke off'}: send VERIFY again")
    return {
        "checked": found.keys + found.corrupted_keys,
        "corrupted_keys": found.corrupted_keys,
        "ok": found.ok,
        "verified_keys": found.keys,
        "missing_keys": found.missing_keys,
        "surplus_keys": found.surplus_keys,
        "checksum_errors": found.checksum_errors,
        "duration_seconds": asked.unix_time - began if running else found.seconds,
        "errors": errors,
        "status": "running" if running else "complete" if found.complete else "broken off",
        "started_at": moment(began),
        "bytes_read": found.bytes_read,
        "tables": found.tables,
        "node_id": str(sources.status().node_id),
    }


async def compact(sources: Sources, asked: Asked) -> Facts:
    """Answer COMPACT: everything, or one collection; returns when it is done."""
    name = asked.line.rest
    collection = None if name.lower() in {"", ALL} else name
    made = await sources.maintenance.compact(collection, asked.seconds)
    if made is None:
        raise NotReadyError(
            f"its disk is being compacted, which goes on: send COMPACT {name or ALL} again for "
            "the result"
        )
    return {
        "collection": collection,
        "flushed": True,
        "status": "ok",
        "sstables_compacted": made.tables_rewritten,
        "new_sstable_count": made.tables_made,
        "bytes_reclaimed": made.bytes_reclaimed,
        "duration_seconds": made.seconds,
        "size_bytes": made.bytes_after,
        "node_id": str(sources.status().node_id),
    }
