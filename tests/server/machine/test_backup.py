"""Images carry the whole state, and installing one is all or nothing."""

import zlib
from collections.abc import Sequence

import pytest
from amaters_server.machine.backup import BackupReader, verify_backup, write_backup
from amaters_server.machine.codec import ProposalId, encode_writes
from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import ConfState, Member, Membership, NodeId
from amaters_server.model.errors import SnapshotError
from amaters_server.model.keys import DataKey, data_key
from amaters_server.model.queries import Get, Put, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.storage.engine import Engine
from amaters_server.storage.memory import MemoryEngine
from amaters_server.wire import state_pb2

FORMED = Membership(
    "cluster", (Member(NodeId(1), "n", "p:1", "c:1", disk_id="d"),), ConfState((1,)), highest_id=4
)
A, B = data_key("c", b"a"), data_key("c", b"b")


def filled(engine: Engine, rows: Sequence[tuple[DataKey, bytes]] = ((A, b"1"), (B, b"2"))):
    """A machine at index 2 that knows a session and an origin."""
    machine = Machine(engine)
    engine.write(machine.form(FORMED, index=1, term=1), sync=True)
    puts = [Put(key, value) for key, value in rows]
    writes = [Write(0, [*puts, Get(A)], 0.0, b"session", 3)]
    data = encode_writes(ProposalId(7, 8, 9), writes, unix_ms=0)
    applied = machine.apply([Committed(2, 5, EntryKind.NORMAL, data)])
    engine.write(applied.changes, sync=True)
    machine.written(applied.version)
    return machine


def backup_of(machine: Machine) -> list[bytes]:
    pieces: list[bytes] = []
    write_backup(machine.backup_source(), pieces.append, created_unix_ms=99)
    return pieces


def test_a_backup_is_of_one_moment_though_writes_go_on() -> None:
    engine = MemoryEngine()
    machine = filled(engine)
    source = machine.backup_source()
    later = encode_writes(ProposalId(7, 8, 10), [Write(0, [Put(A, b"later")], 0.0)], unix_ms=0)
    applied = machine.apply([Committed(3, 5, EntryKind.NORMAL, later)])
    engine.write(applied.changes, sync=True)
    machine.written(applied.version)
    pieces: list[bytes] = []

    assert write_backup(source, pieces.append, created_unix_ms=0) == 2

    saved, _ = verify_backup(pieces)
    assert saved.index == 2
    rows = [row for batch in BackupReader(pieces).batches() for row in batch]
    assert rows == [(A, b"1"), (B, b"2")]


def test_what_is_only_in_the_overlay_is_in_the_backup() -> None:
    machine = filled(MemoryEngine())
    data = encode_writes(ProposalId(7, 8, 10), [Write(0, [Put(A, b"new")], 0.0)], unix_ms=0)
    machine.apply([Committed(3, 5, EntryKind.NORMAL, data)])

    backup = BackupReader(backup_of(machine))

    assert backup.saved.index == 3
    assert next(backup.batches())[0] == (A, b"new")


def test_every_cut_and_every_flipped_bit_is_found() -> None:
    whole = b"".join(backup_of(filled(MemoryEngine())))
    damaged = [whole[:size] for size in range(len(whole))]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(len(whole))
    ]
    damaged.append(whole + b"\0\0\0\0")

    sound, unnoticed = verify_backup([whole]), 0
    for data in damaged:
        try:
            found = verify_backup([data])
        except SnapshotError:
            continue
        # The highest bits of a long varint mean nothing: the backup says the same.
        unnoticed += 1
        assert found == sound
    assert unnoticed <= 4


def test_rows_out_of_order_are_refused() -> None:
    header, *_ = (piece for piece in backup_of(filled(MemoryEngine())) if len(piece) > 4)
    record = state_pb2.ImageRecord(keys=[B, A], values=[b"", b""]).SerializeToString()
    checksum = zlib.crc32(record, zlib.crc32(header))
    trailer = state_pb2.ImageTrailer(rows=2, checksum=checksum)
    end = state_pb2.ImageRecord(trailer=trailer).SerializeToString()
    content = [len(one).to_bytes(4, "big") + one for one in (header, record, end)]

    with pytest.raises(SnapshotError, match="out of order"):
        verify_backup(content)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "empty"),
        ([b'{"node_id":1}'], "claims to have"),
        ([b"\0\0\0\x02\x08\x02"], "format 2"),
        ([b"\0\0\0\x01\xff"], "no backup"),
    ],
)
def test_what_is_no_backup_is_called_so(content: list[bytes], says: str) -> None:
    with pytest.raises(SnapshotError, match=says):
        verify_backup(content)
