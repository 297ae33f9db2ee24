"""What the log means, worked out a second time and simply: the members' states are held against it.

Knows what simulated clients write: puts, and updates of all rows of a collection. Shares nothing
with the real state machine but the decoding of entries.
"""

from bisect import bisect_right
from itertools import zip_longest
from zlib import crc32

from amaters.wire import types_pb2

from amaters_server.machine.codec import Command, decode_entry
from amaters_server.model.queries import Put, Update
from amaters_server.model.replication import Committed, EntryKind


class Model:
    """The data after every entry, from the entries in order."""

    def __init__(self) -> None:
        self.written: set[bytes] = set()
        """Every value that was ever put."""
        self._index = 0
        self._waiting: dict[int, Committed] = {}
        self._proposed: dict[int, tuple[int, int]] = {}
        self._sessions: dict[bytes, int] = {}
        self._puts: dict[bytes, tuple[list[int], list[bytes]]] = {}

    def add(self, entry: Committed) -> None:
        """Take in an applied entry the first time that any member applies it."""
        self._index = self._index or entry.index - 1
        self._waiting[entry.index] = entry
        while (following := self._waiting.pop(self._index + 1, None)) is not None:
            self._index += 1
            self._apply(following)

    def value(self, key: bytes, index: int) -> bytes | None:
        """Return what the key must hold once everything up to the index is applied."""
        indices, values = self._puts.get(key, ([], []))
        at = bisect_right(indices, index)
        return values[at - 1] if at else None

    def rows(self, index: int) -> list[tuple[bytes, bytes]]:
        """Return all data as of the index, in order."""
        found = ((key, self.value(key, index)) for key in sorted(self._puts))
        return [(key, value) for key, value in found if value is not None]

    def _apply(self, entry: Committed) -> None:
        if entry.kind is not EntryKind.NORMAL or not entry.data:
            return
        decoded = decode_entry(entry.data, index=entry.index)
        origin, *order = decoded.proposal
        if tuple(order) <= self._proposed.get(origin, (0, 0)):
            return
        self._proposed[origin] = (order[0], order[1])
        for command in decoded.in_order():
            if isinstance(command, Command) and self._is_new(command):
                self._put(command, entry.index)

    def _is_new(self, command: Command) -> bool:
        if not command.session:
            return True
        known = self._sessions.get(command.session, 0)
        self._sessions[command.session] = max(known, command.session_sequence)
        return command.session_sequence > known

    def _put(self, command: Command, index: int) -> None:
        for operation in command.operations:
            if isinstance(operation, Put):
                self._note(operation.key, operation.value, index)
            elif isinstance(operation, Update):
                self._update(operation, index)

    def _note(self, key: bytes, value: bytes, index: int) -> None:
        indices, values = self._puts.setdefault(key, ([], []))
        indices.append(index)
        values.append(value)
        self.written.add(value)

    def _update(self, update: Update, index: int) -> None:
        """Change every row of the range, one byte after the other."""
        for key, (_, values) in self._puts.items():
            if not update.start <= key < update.end:
                continue
            for message in update.updates:
                step = types_pb2.Update.FromString(message)
                if step.HasField("set"):
                    self._note(key, step.set.value.SerializeToString(), index)
                    continue
                before = types_pb2.CipherBlob.FromString(values[-1]).data
                pairs = zip_longest(before, step.add.value.data, fillvalue=0)
                after = bytes((one + other) % 256 for one, other in pairs)
                metadata = types_pb2.CipherMetadata(
                    size=len(after), checksum=crc32(after), created_at=update.created_at
                )
                blob = types_pb2.CipherBlob(data=after, metadata=metadata)
                self._note(key, blob.SerializeToString(), index)
