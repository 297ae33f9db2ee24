"""Who belongs to the cluster after membership entries."""

import pytest
from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import ConfState, Member, Membership, NodeId
from amaters_server.model.errors import StorageCorruptedError
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.storage.memory import MemoryEngine
from amaters_server.wire.command_pb2 import MemberRecord

FIRST = Member(NodeId(1), "n1", "n1:7879", "n1:7878", disk_id="disk-1")
FORMED = Membership("cluster", (FIRST,), ConfState(voters=(1,)), highest_id=1)


@pytest.fixture
def machine() -> Machine:
    machine = Machine(MemoryEngine())
    machine.form(FORMED, index=1, term=1)
    return machine


def change(machine: Machine, state: ConfState, record: MemberRecord | None = None):
    context = b"" if record is None else record.SerializeToString()
    index = machine.applied_index + 1
    entry = Committed(index, 1, EntryKind.CONF_CHANGE, b"", context, state)
    return machine.apply([entry])


def test_a_formed_cluster_is_there_after_a_restart() -> None:
    engine = MemoryEngine()
    assert Machine(engine).membership is None

    engine.write(Machine(engine).form(FORMED, index=1, term=1), sync=True)

    again = Machine(engine)
    assert again.membership == FORMED
    assert (again.applied_index, again.applied_term) == (1, 1)


def test_a_learner_is_added_with_what_its_record_says(machine: Machine) -> None:
    record = MemberRecord(id=2, name="n2", peer_address="n2:7879", client_address="n2:7878")

    applied = change(machine, ConfState(voters=(1,), learners=(2,)), record)

    assert applied.members_changed
    assert machine.membership is not None
    assert machine.membership.members == (
        FIRST,
        Member(NodeId(2), "n2", "n2:7879", "n2:7878", is_learner=True),
    )
    assert machine.membership.highest_id == 2


def test_promoting_keeps_what_the_record_leaves_out(machine: Machine) -> None:
    change(machine, ConfState((1,), (2,)), MemberRecord(id=2, name="n2", disk_id="d"))

    change(machine, ConfState((1, 2)), MemberRecord(id=2))

    assert machine.membership is not None
    second = machine.membership.member(2)
    assert second == Member(NodeId(2), "n2", "", "", is_learner=False, disk_id="d")


def test_a_removed_member_is_gone_and_its_id_is_never_given_out_again(machine: Machine) -> None:
    change(machine, ConfState((1, 2)), MemberRecord(id=2, name="n2"))

    change(machine, ConfState((1,)), MemberRecord(id=2))

    assert machine.membership is not None
    assert machine.membership.members == (FIRST,)
    assert machine.membership.highest_id == 2


def test_a_disk_that_claimed_a_member_keeps_it(machine: Machine) -> None:
    claim = MemberRecord(id=1, disk_id="disk-2", name="thief", origin=4, request=9)

    change(machine, ConfState((1,)), claim)

    assert machine.membership is not None
    assert machine.membership.members == (FIRST,)


def test_the_same_disk_may_claim_again_with_new_addresses(machine: Machine) -> None:
    claim = MemberRecord(id=1, disk_id="disk-1", peer_address="moved:7879")

    change(machine, ConfState((1,)), claim)

    assert machine.membership is not None
    assert machine.membership.member(1) == Member(
        NodeId(1), "n1", "moved:7879", "n1:7878", disk_id="disk-1"
    )


def test_leaving_a_joint_state_needs_no_record(machine: Machine) -> None:
    record = MemberRecord(id=2, name="n2")
    change(machine, ConfState((1, 2), voters_outgoing=(1,), auto_leave=True), record)

    change(machine, ConfState((2,)))

    assert machine.membership is not None
    assert [member.id for member in machine.membership.members] == [2]
    assert machine.membership.conf_state == ConfState((2,))


def test_a_record_that_does_not_decode_stops_the_node(machine: Machine) -> None:
    entry = Committed(2, 1, EntryKind.CONF_CHANGE, b"", b"\xff", ConfState((1,)))

    with pytest.raises(StorageCorruptedError, match="membership entry 2"):
        machine.apply([entry])
