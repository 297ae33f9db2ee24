"""The raft log as it lies on an engine."""

import pytest
from amaters_server.model.errors import StorageCorruptedError
from amaters_server.raft.log import Identity, Log
from amaters_server.storage.engine import Changes, Space
from amaters_server.storage.memory import MemoryDisk, MemoryEngine


def entry(index, term=1, data=b"data", context=b""):
    return (index, term, 0, data, context)


class Bench:
    """A log and the engine below it, written step by step."""

    def __init__(self):
        self.engine = MemoryEngine(MemoryDisk())
        self.log = Log(self.engine)

    def write(self, *steps):
        changes = Changes()
        for step in steps:
            step(changes)
        self.engine.write(changes, sync=True)

    def reloaded(self):
        return Log(self.engine).load()


def test_an_empty_disk_holds_nothing():
    stored = Bench().reloaded()

    assert (stored.hard_state, stored.compacted, stored.entries) == ((0, 0, 0), (0, 0), [])


def test_entries_come_back_as_they_were():
    bench = Bench()
    entries = [entry(1), (2, 3, 2, b"", b"context"), entry(3, 3, b"\x00" * 300)]

    bench.write(
        lambda c: bench.log.append(c, entries), lambda c: bench.log.put_hard_state(c, (3, 2, 1))
    )

    assert bench.reloaded().entries == entries
    assert bench.reloaded().hard_state == (3, 2, 1)


def test_a_shorter_branch_replaces_a_longer_one():
    bench = Bench()
    bench.write(lambda c: bench.log.append(c, [entry(one) for one in range(1, 9)]))

    bench.write(lambda c: bench.log.append(c, [entry(4, 2), entry(5, 2)]))

    assert [(one[0], one[1]) for one in bench.reloaded().entries] == [
        (1, 1),
        (2, 1),
        (3, 1),
        (4, 2),
        (5, 2),
    ]


def test_a_branch_replaced_within_one_write_leaves_no_trace():
    bench = Bench()

    bench.write(
        lambda c: bench.log.append(c, [entry(one) for one in range(1, 9)]),
        lambda c: bench.log.append(c, [entry(2, 2)]),
    )

    assert [(one[0], one[1]) for one in bench.reloaded().entries] == [(1, 1), (2, 2)]


def test_order_holds_beyond_one_byte_indices():
    bench = Bench()
    bench.write(lambda c: bench.log.append(c, [entry(one) for one in range(1, 70_000, 1)][:600]))

    assert [one[0] for one in bench.reloaded().entries] == list(range(1, 601))


def test_compaction_keeps_the_rest_and_remembers_the_last_term():
    bench = Bench()
    bench.write(lambda c: bench.log.append(c, [entry(one, 1 + one // 4) for one in range(1, 9)]))

    bench.write(lambda c: bench.log.compact(c, 5, 2))

    stored = bench.reloaded()
    assert stored.compacted == (5, 2)
    assert [one[0] for one in stored.entries] == [6, 7, 8]


def test_a_gap_is_damage():
    bench = Bench()
    bench.write(lambda c: bench.log.append(c, [entry(one) for one in range(1, 4)]))
    bench.write(lambda c: c.delete(Space.LOG, (2).to_bytes(8, "big")))

    with pytest.raises(StorageCorruptedError, match="lacks entry 2"):
        bench.reloaded()


def test_a_log_continues_the_state_only_if_it_contains_its_last_entry():
    bench = Bench()
    bench.write(
        lambda c: bench.log.restart_at(c, 3, 1),
        lambda c: bench.log.append(c, [entry(4, 1), entry(5, 2)]),
        lambda c: bench.log.put_hard_state(c, (2, 9, 4)),
    )
    stored = bench.reloaded()

    assert stored.follows(3, 1)
    assert stored.follows(5, 2)
    assert not stored.follows(5, 3)
    assert not stored.follows(8, 3)
    restarted = stored.restarted_at(8, 3)
    assert (restarted.hard_state, restarted.compacted) == ((3, 0, 8), (8, 3))
    assert stored.restarted_at(8, 2).hard_state == (2, 9, 8)


def test_identity_and_lives_are_kept():
    bench = Bench()
    identity = Identity("cluster", 3, "disk")

    bench.write(
        lambda c: bench.log.put_identity(c, identity),
        lambda c: bench.log.put_incarnation(c, 8),
        lambda c: bench.log.put_disk_id(c, "disk"),
    )

    again = Log(bench.engine)
    assert (again.identity(), again.incarnation(), again.disk_id()) == (identity, 8, "disk")
