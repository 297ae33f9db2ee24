"""A member installs another's state, keeps what is its own, and refuses a wrong checkpoint."""

from pathlib import Path

import pytest
from amaters_server.machine.codec import ProposalId, encode_writes
from amaters_server.machine.machine import Machine
from amaters_server.machine.snapshot_install import amend_for_install, position, require
from amaters_server.model.cluster import ConfState, Member, Membership, NodeId
from amaters_server.model.errors import NotReadyError, SnapshotError, StorageCorruptedError
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Put, Write
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.raft.log import Identity, Log
from amaters_server.storage.engine import Changes, Engine, Space
from amaters_server.storage.memory import MemoryEngine
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.storage.rocks.tuning import RocksTuning

SMALL = RocksTuning(block_cache_bytes=1 << 20, memtable_bytes=1 << 20, open_files=64)
FORMED = Membership(
    "cluster", (Member(NodeId(1), "n", "p:1", "c:1", disk_id="d"),), ConfState((1,)), highest_id=4
)
A, B = data_key("c", b"a"), data_key("c", b"b")


@pytest.fixture(params=["memory", "rocks"])
def engines(request: pytest.FixtureRequest, tmp_path: Path):
    """Two engines of one kind: the leader's and the follower's."""
    if request.param == "memory":
        yield MemoryEngine(), MemoryEngine()
        return
    one, other = RocksEngine(tmp_path / "one", SMALL), RocksEngine(tmp_path / "other", SMALL)
    yield one, other
    one.close()
    other.close()


def entry(index: int, sequence: int, *puts: Put) -> Committed:
    writes = [Write(0, [put], 0.0, b"session", sequence) for put in puts]
    data = encode_writes(ProposalId(7, 8, sequence), writes, unix_ms=0)
    return Committed(index, 5, EntryKind.NORMAL, data)


def become(engine: Engine, node_id: int, *entries: Committed) -> Machine:
    machine, log, changes = Machine(engine), Log(engine), Changes()
    changes.extend(machine.form(FORMED, index=1, term=1))
    log.put_identity(changes, Identity("cluster", node_id, f"disk-{node_id}"))
    log.put_hard_state(changes, (node_id, node_id, 1))
    log.append(changes, [(2, 1, 0, b"%d" % node_id, b"")])
    engine.write(changes, sync=True)
    for one in entries:
        applied = machine.apply([one])
        engine.write(applied.changes, sync=True)
        machine.written(applied.version)
    return machine


def rows(engine: Engine, space: Space) -> list[tuple[bytes, bytes]]:
    view = engine.view()
    found = list(view.scan(space, b"", b"\xff" * 64))
    view.close()
    return found


def test_the_state_comes_along_and_who_the_member_is_does_not(engines, tmp_path: Path) -> None:
    leader, follower = engines
    become(leader, 1, entry(2, 1, Put(A, b"1")), entry(3, 2, Put(B, b"2")))
    machine = become(follower, 2, entry(2, 1, Put(A, b"stale")))
    leader.checkpoint(tmp_path / "image")

    machine.suspend()
    with pytest.raises(NotReadyError):
        machine.get(A)
    follower.replace(tmp_path / "image", amend_for_install(follower, index=3, term=5))
    machine.reload()

    assert (machine.applied_index, machine.applied_term, machine.membership) == (3, 5, FORMED)
    assert machine.get_many([A, B]) == [b"1", b"2"]
    assert machine.apply([entry(4, 2, Put(A, b"again"))]).outcomes[0].skipped
    assert Log(follower).identity() == Identity("cluster", 2, "disk-2")
    assert Log(follower).load().hard_state == (2, 2, 1)
    assert rows(follower, Space.LOG) == []
    assert rows(follower, Space.DATA) == rows(leader, Space.DATA)
    assert not (tmp_path / "image").exists()


def test_a_checkpoint_of_another_entry_changes_nothing(engines, tmp_path: Path) -> None:
    leader, follower = engines
    become(leader, 1, entry(2, 1, Put(A, b"1")))
    become(follower, 2)
    before = [rows(follower, space) for space in Space]
    leader.checkpoint(tmp_path / "image")

    with pytest.raises(SnapshotError, match=r"entry 2 of term 5, and entry 9 of term 5"):
        follower.replace(tmp_path / "image", amend_for_install(follower, index=9, term=5))

    assert [rows(follower, space) for space in Space] == before
    assert (tmp_path / "image").exists()


@pytest.mark.parametrize(
    ("index", "term", "voters", "complaint"),
    [
        (9, 5, (1,), "entry 9 of term 5"),
        (2, 6, (1,), "entry 2 of term 6"),
        (2, 5, (1, 9), r"voters=\(1, 9\)"),
    ],
)
def test_a_checkpoint_that_is_not_what_was_announced_is_refused(
    engines, index: int, term: int, voters: tuple[int, ...], complaint: str
) -> None:
    leader = engines[0]
    become(leader, 1, entry(2, 1, Put(A, b"1")))
    require(leader, index=2, term=5, conf_state=ConfState((1,)))

    with pytest.raises(SnapshotError, match=complaint):
        require(leader, index=index, term=term, conf_state=ConfState(voters))


def test_an_engine_of_another_kind_has_nothing_to_give(engines, tmp_path: Path) -> None:
    _, follower = engines
    become(follower, 2)
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "something").write_bytes(b"else")

    with pytest.raises(StorageCorruptedError, match="no checkpoint of this engine"):
        follower.replace(tmp_path / "image", amend_for_install(follower, index=2, term=5))


def test_a_member_without_state_has_nothing_to_send(engines) -> None:
    with pytest.raises(SnapshotError, match="nothing to send"):
        position(engines[0])
