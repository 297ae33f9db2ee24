"""What is found in a checkpoint, whatever is in it."""

import threading
from pathlib import Path
from zlib import crc32

from amaters.wire.types_pb2 import CipherBlob, CipherMetadata
from amaters_server.model.keys import data_key
from amaters_server.node.maintenance.compaction import _behind
from amaters_server.node.maintenance.verification import MOST_ERRORS, Pace, Verification, verify
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.memory import MemoryEngine
from hypothesis import given, settings
from hypothesis import strategies as st


def found_in(folder: Path, rows: list[tuple[bytes, bytes]]) -> Verification:
    engine, changes = MemoryEngine(), Changes()
    for key, value in rows:
        changes.put(Space.DATA, key, value)
    engine.write(changes, sync=True)
    engine.checkpoint(folder / "copy")
    found = Verification(0)
    verify(engine, folder / "copy", found, Pace(threading.Event()))
    return found


def blob(data: bytes, checksum: int | None = None) -> bytes:
    metadata = CipherMetadata(checksum=crc32(data) if checksum is None else checksum)
    return CipherBlob(data=data, metadata=metadata).SerializeToString()


@given(st.dictionaries(st.binary(max_size=40), st.binary(max_size=60), max_size=30))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_verified_and_never_raise(tmp_path_factory, rows) -> None:
    found = found_in(tmp_path_factory.mktemp("any"), list(rows.items()))

    assert found.complete
    assert found.keys + found.corrupted_keys == found.rows == len(rows)
    assert found.ok is (found.corrupted_keys == 0)
    assert bool(found.errors) is (found.corrupted_keys > 0)


@given(st.dictionaries(st.binary(max_size=40), st.binary(max_size=60), max_size=30))
@settings(max_examples=30, deadline=None)
def test_what_callers_wrote_is_always_right(tmp_path_factory, rows) -> None:
    stored = [(data_key("c", key), blob(value)) for key, value in rows.items()]

    found = found_in(tmp_path_factory.mktemp("right"), stored)

    assert (found.ok, found.keys) == (True, len(rows))


def test_faults_are_counted_and_the_first_ones_described(tmp_path) -> None:
    rows = [(data_key("c", b"%05d" % n), blob(b"v", checksum=1)) for n in range(1000)]

    found = found_in(tmp_path, rows)

    assert (found.corrupted_keys, found.damage, len(found.errors)) == (1000, 1000, MOST_ERRORS)


def test_a_reader_is_kept_below_the_rate_and_off_the_processor() -> None:
    waited: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return False

    times = iter([0.0, 0.5, 10.0, 12.0, 20.0])
    pace = Pace(Stop(), bytes_per_second=100, now=lambda: next(times))

    assert pace.rest(400)  # took 0.5 s, may take 4
    assert pace.rest(100)  # took 2 s, more than it may: rests as long as it worked

    assert waited == [3.5, 2.0]


def test_a_reader_that_is_stopped_says_so() -> None:
    stop = threading.Event()
    stop.set()

    assert not Pace(stop).rest(1)


@given(st.text(max_size=20), st.text(max_size=20), st.binary(max_size=8))
def test_the_end_of_a_collection_is_behind_its_keys_and_before_all_others(
    name: str, other: str, key: bytes
) -> None:
    prefix = data_key(name, b"")
    mine, theirs = data_key(name, key), data_key(other, key)

    assert prefix <= mine < _behind(prefix)
    if name != other:
        assert not prefix <= theirs < _behind(prefix)
