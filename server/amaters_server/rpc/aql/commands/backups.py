"""BACKUP and RESTORE: each goes on when its caller has left, and one at a time."""

import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from amaters_server.model.errors import InvalidRequestError, NotReadyError, SnapshotError
from amaters_server.node.backup.files import StoreAccess
from amaters_server.node.maintenance.jobs import OneAtATime
from amaters_server.node.values import BackupInfo, RestoreUpdate
from amaters_server.rpc.aql.commands.cluster import moment
from amaters_server.rpc.aql.commands.line import COLLECTION, split_last
from amaters_server.rpc.aql.commands.sources import Asked, Backups, Facts, Sources

FULL, INCREMENTAL, REPLACE = "full", "incremental", "replace"
PUBLISHED_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore has loaded."""

    last: RestoreUpdate
    seconds: float


class BackupCommands:
    """The two commands, and the work that they began."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._made: OneAtATime[BackupInfo] = OneAtATime("BACKUP", now)
        self._restored: OneAtATime[Restored] = OneAtATime("RESTORE", now)

    async def close(self) -> None:
        """End what runs."""
        await self._made.close()
        await self._restored.close()

    async def backup(self, sources: Sources, asked: Asked) -> Facts:
        """Answer BACKUP DIRECTORY [full]: to one of the configured places, or below one."""
        place, kind = split_last(asked.line.rest, (FULL, INCREMENTAL))
        if not place:
            raise InvalidRequestError(
                "missing backup directory: write BACKUP PLACE, with one of the configured places "
                "(`snapshots.destination`, `snapshots.allowed_destinations`) or a folder below one"
            )
        job = self._made.join(f"to {place}", partial(_make, sources.backups, place))
        made = await self._made.outcome(job, asked.seconds)
        if made is None:
            raise NotReadyError(
                f"the backup is being written, which goes on: send BACKUP {place} again for the "
                "result"
            )
        return {
            "status": "ok",
            "path": place,
            "uri": made.uri,
            "kind": FULL,
            "note": "backups are always full here" if kind == INCREMENTAL else "",
            "key_count": made.key_count,
            "byte_count": made.original_size_bytes,
            "backup_id": str(made.id),
            "created_at": moment(made.timestamp_ms / 1000),
            "size_bytes": made.size_bytes,
            "backup_type": FULL,
            "compression": "lz4",
        }

    async def restore(self, sources: Sources, asked: Asked) -> Facts:
        """Answer RESTORE SOURCE [collection=NAME] [replace]: what BACKUP was given, or `newest`."""
        rest, replace = split_last(asked.line.rest, (REPLACE,))
        source, collection = _collection(rest)
        if not source:
            raise InvalidRequestError(
                "missing restore directory: write RESTORE SOURCE, with what BACKUP was given, the "
                "URI that it printed, an id, or `newest`"
            )
        loading = partial(_load, sources.backups, source, collection, replace=bool(replace))
        job = self._restored.join(f"from {source} {collection} {replace}".strip(), loading)
        restored = await self._restored.outcome(job, asked.seconds)
        if restored is None:
            raise NotReadyError(
                "its data is being restored, which goes on: send the same RESTORE again for the "
                "result"
            )
        last = restored.last
        return {
            "status": "ok",
            "restored": last.keys_restored,
            "schema_version": PUBLISHED_SCHEMA,
            "keys_restored": last.keys_restored,
            "bytes_restored": last.bytes_restored,
            "duration_seconds": restored.seconds,
            "errors": [],
            "backup": last.backup,
        }


def _collection(rest: str) -> tuple[str, str]:
    before, _, last = rest.rpartition(" ")
    if last.startswith(COLLECTION):
        return before.strip(), last.removeprefix(COLLECTION)
    return rest, ""


async def _make(backups: Backups, place: str) -> BackupInfo:
    access = StoreAccess(place)
    made = await backups.create(access)
    # Somebody may have deleted it since: what is not there is not reported as made.
    there = await backups.list_remote(access)
    if not any((one.id, one.uri, one.size_bytes) == _identity(made) for one in there):
        raise SnapshotError(
            f"backup {made.id} was made and is not in {place} now: look what deletes files there, "
            "and make another one"
        )
    return made


def _identity(made: BackupInfo) -> tuple[int, str, int]:
    return made.id, made.uri, made.size_bytes


async def _load(backups: Backups, source: str, collection: str, *, replace: bool) -> Restored:
    began = time.monotonic()
    last = RestoreUpdate(0, 0, 0)
    async with aclosing(backups.restore(source, replace=replace, collection=collection)) as steps:
        async for step in steps:
            last = step
    if not last.done:
        raise SnapshotError(f"the restore from {source} ended before its end: begin it again")
    return Restored(last, time.monotonic() - began)
