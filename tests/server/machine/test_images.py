"""Images carry the whole state, and installing one is all or nothing."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from amaters_server.machine.codec import Proposal, encode_writes
from amaters_server.machine.image import ImageReader, install_image, verify_image, write_image
from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import ConfState, Member, Membership, NodeId
from amaters_server.model.errors import NotReadyError, SnapshotError, StorageError
from amaters_server.model.keys import DATA_KEYS_END, DataKey, data_key
from amaters_server.model.queries import Get, Put, Scan, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.storage.engine import Changes, Engine, Space
from amaters_server.storage.memory import MemoryDisk, MemoryEngine
from amaters_server.storage.rocks import RocksEngine
from amaters_server.storage.tuning import RocksTuning
from amaters_server.wire import state_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

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
    data = encode_writes(Proposal(7, 8, 9), writes, unix_ms=0)
    applied = machine.apply([Committed(2, 5, EntryKind.NORMAL, data)])
    engine.write(applied.changes, sync=True)
    machine.written(applied.version)
    return machine


def image_of(machine: Machine) -> list[bytes]:
    pieces: list[bytes] = []
    write_image(machine.image_source(), pieces.append, created_unix_ms=99)
    return pieces


def stored(engine: Engine) -> list[tuple[Space, bytes, bytes]]:
    view = engine.view()
    everything = [(space, *row) for space in Space for row in view.scan(space, b"", b"\xff" * 9)]
    view.close()
    return everything


ROWS = st.dictionaries(
    st.builds(data_key, st.text(max_size=2), st.binary(max_size=3)), st.binary(max_size=5)
)


@given(ROWS, st.integers(1, 50))
@settings(deadline=None)
def test_an_installed_image_is_the_same_state_to_the_byte(rows, cut: int) -> None:
    source, target = MemoryEngine(), MemoryEngine()
    pieces = b"".join(image_of(filled(source, list(rows.items()))))
    filled(target, [(data_key("x", b"other"), b"data")])

    def content() -> list[bytes]:
        return [pieces[at : at + cut] for at in range(0, len(pieces), cut)]

    install_image(target, content)

    assert stored(target) == stored(source)


def test_an_image_moves_from_disk_to_disk(tmp_path: Path) -> None:
    tuning = RocksTuning(block_cache_bytes=1 << 20, memtable_bytes=1 << 20, open_files=64)
    source, target = (RocksEngine(tmp_path / name, tuning) for name in ("one", "two"))
    rows = [(data_key("c", n.to_bytes(4, "big")), b"v" * 200) for n in range(10_000)]
    pieces = image_of(filled(source, rows))

    install_image(target, lambda: pieces)

    assert stored(target) == stored(source)
    assert len(pieces) > 10
    source.close()
    target.close()


def test_a_machine_goes_on_from_an_installed_image() -> None:
    engine = MemoryEngine()
    machine = Machine(engine)
    pieces = image_of(filled(MemoryEngine()))

    machine.suspend()
    with pytest.raises(NotReadyError):
        machine.get(A)
    install_image(engine, lambda: pieces)
    machine.reload()

    assert (machine.applied_index, machine.applied_term) == (2, 5)
    assert machine.membership == FORMED
    assert machine.get_many([A, B]) == [b"1", b"2"]
    late = encode_writes(Proposal(7, 8, 9), [Write(0, [Put(A, b"x")], 0.0)], unix_ms=0)
    assert machine.apply([Committed(3, 5, EntryKind.NORMAL, late)]).outcomes[0].skipped


def test_an_image_is_of_one_moment_though_writes_go_on() -> None:
    engine = MemoryEngine()
    machine = filled(engine)
    source = machine.image_source()
    later = encode_writes(Proposal(7, 8, 10), [Write(0, [Put(A, b"later")], 0.0)], unix_ms=0)
    applied = machine.apply([Committed(3, 5, EntryKind.NORMAL, later)])
    engine.write(applied.changes, sync=True)
    machine.written(applied.version)
    pieces: list[bytes] = []

    assert write_image(source, pieces.append, created_unix_ms=0) == 2

    kept, _ = verify_image(pieces)
    assert kept.index == 2
    rows = [row for batch in ImageReader(pieces).batches() for row in batch]
    assert rows == [(A, b"1"), (B, b"2")]


def test_what_is_only_in_the_overlay_is_in_the_image() -> None:
    machine = filled(MemoryEngine())
    data = encode_writes(Proposal(7, 8, 10), [Write(0, [Put(A, b"new")], 0.0)], unix_ms=0)
    machine.apply([Committed(3, 5, EntryKind.NORMAL, data)])

    image = ImageReader(image_of(machine))

    assert image.kept.index == 3
    assert next(image.batches())[0] == (A, b"new")


def test_every_cut_and_every_flipped_bit_is_found() -> None:
    whole = b"".join(image_of(filled(MemoryEngine())))
    damaged = [whole[:size] for size in range(len(whole))]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(len(whole))
    ]
    damaged.append(whole + b"\0\0\0\0")

    for data in damaged:
        with pytest.raises(SnapshotError):
            verify_image([data])


def test_rows_out_of_order_are_refused() -> None:
    header, *_ = (piece for piece in image_of(filled(MemoryEngine())) if len(piece) > 4)
    record = state_pb2.ImageRecord(keys=[B, A], values=[b"", b""]).SerializeToString()
    checksum = zlib.crc32(record, zlib.crc32(header))
    trailer = state_pb2.ImageTrailer(rows=2, checksum=checksum)
    end = state_pb2.ImageRecord(trailer=trailer).SerializeToString()
    content = [len(one).to_bytes(4, "big") + one for one in (header, record, end)]

    with pytest.raises(SnapshotError, match="out of order"):
        verify_image(content)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "empty"),
        ([b'{"node_id":1}'], "claims to have"),
        ([b"\0\0\0\x02\x08\x02"], "format 2"),
        ([b"\0\0\0\x01\xff"], "no image"),
    ],
)
def test_what_is_no_image_is_called_so(content: list[bytes], says: str) -> None:
    with pytest.raises(SnapshotError, match=says):
        verify_image(content)


def test_a_damaged_image_is_refused_before_anything_is_touched() -> None:
    engine = MemoryEngine()
    filled(engine)
    before = stored(engine)
    whole = b"".join(image_of(filled(MemoryEngine(), [(A, b"other")])))

    with pytest.raises(SnapshotError):
        install_image(engine, lambda: [whole[:-1]])

    assert stored(engine) == before


class Failing(MemoryEngine):
    """Fails at its n-th write, as a process that is killed does."""

    def __init__(self, disk: MemoryDisk, left: int) -> None:
        super().__init__(disk)
        self.left = left

    def write(self, changes: Changes, *, sync: bool) -> None:
        if self.left == 0:
            raise StorageError("killed")
        self.left -= 1
        super().write(changes, sync=sync)


@pytest.mark.parametrize("writes", range(5))
@pytest.mark.parametrize("survivors", range(3))
def test_a_crash_at_any_write_leaves_the_old_state_the_new_one_or_a_mark(
    writes: int, survivors: int
) -> None:
    source = MemoryEngine()
    rows = [(data_key("c", bytes([n])), b"v" * 200_000) for n in range(3)]
    pieces = image_of(filled(source, rows))
    disk = MemoryDisk()
    first = MemoryEngine(disk)
    filled(first)
    before = stored(first)
    first.close()
    log = Changes([(Space.LOG, b"log", b"fresh")])

    with pytest.raises(StorageError, match="killed"):
        install_image(Failing(disk, writes), lambda: pieces, last=log)
    disk.crash(keep=survivors)

    engine = MemoryEngine(disk)
    machine = Machine(engine)
    if writes == 0:
        assert stored(engine) == before
        return
    assert machine.needs_image
    assert (machine.applied_index, machine.membership) == (2, FORMED)
    for use in (machine.view, lambda: machine.get(A), lambda: machine.apply([])):
        with pytest.raises(NotReadyError, match="being replaced"):
            use()
    with pytest.raises(NotReadyError):
        machine.scan(Scan(A, DataKey(DATA_KEYS_END), None))
    install_image(engine, lambda: pieces, last=log)
    machine.reload()
    assert not machine.needs_image
    assert stored(engine) == sorted(
        [*stored(source), (Space.LOG, b"log", b"fresh")],
        key=lambda one: (list(Space).index(one[0]), one[1]),
    )
