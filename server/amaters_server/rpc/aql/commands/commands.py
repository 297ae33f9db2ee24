"""Answers the commands with serialized blobs of JSON."""

import json
import time
from collections.abc import Callable, Mapping
from zlib import crc32

from amaters.wire.types_pb2 import CipherBlob, CipherMetadata

from amaters_server.model.errors import DatabaseError, InvalidRequestError
from amaters_server.model.principal import ForwardedFor
from amaters_server.rpc.aql.commands import cluster, stats, upkeep
from amaters_server.rpc.aql.commands.backups import BackupCommands
from amaters_server.rpc.aql.commands.line import line_of, shown
from amaters_server.rpc.aql.commands.sources import Asked, Command, Facts, Sources
from amaters_server.rpc.aql.commands.wording import worded

ANSWER_SECONDS = 2.0
"""Before a caller's deadline: an answer that comes in time is better than the whole result late."""
_SHARE = 0.25
"""Of the time that is left, where that is less."""


class AdminCommands:
    """All commands of one node. Belongs to the event loop."""

    def __init__(
        self,
        sources: Sources,
        now: Callable[[], float],
        *,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self._sources = sources
        self._now = now
        self._unix_time = unix_time
        self._backups = BackupCommands(now)
        self._commands: Mapping[str, Command] = {
            "METRICS": cluster.metrics,
            "CLUSTER_INFO": cluster.cluster_info,
            "NODES": cluster.nodes,
            "STATS": stats.stats,
            "LOGS": stats.logs,
            "VERIFY": upkeep.verify,
            "COMPACT": upkeep.compact,
            "BACKUP": self._backups.backup,
            "RESTORE": self._backups.restore,
        }

    async def answer(self, key: bytes, caller: ForwardedFor | None, deadline: float) -> bytes:
        """Carry out the command in the key; its errors are worded for the published client.

        Work that takes longer than the caller waits goes on, and the error says how to get at its
        result. The leader is asked on behalf of the caller, who has permission here.
        """
        try:
            return self._blob(await self._carry_out(key, caller, deadline))
        except DatabaseError as error:
            raise worded(error) from error

    async def close(self) -> None:
        """End what runs."""
        await self._backups.close()

    async def _carry_out(self, key: bytes, caller: ForwardedFor | None, deadline: float) -> Facts:
        line = line_of(key)
        command = self._commands.get(line.verb)
        if command is None:
            asked = shown(line.verb) if line.verb else "an empty command"
            raise InvalidRequestError(
                f"{asked} is no command: use one of {', '.join(self._commands)}"
            )
        left = max(deadline - self._now(), 0.0)
        seconds = left - min(ANSWER_SECONDS, left * _SHARE)
        return await command(self._sources, Asked(line, caller, seconds, self._unix_time()))

    def _blob(self, facts: Facts) -> bytes:
        data = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
        metadata = CipherMetadata(
            size=len(data), checksum=crc32(data), created_at=int(self._unix_time())
        )
        return CipherBlob(data=data, metadata=metadata).SerializeToString()
