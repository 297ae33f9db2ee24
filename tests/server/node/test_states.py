"""What a node says that it is doing, before it is a member."""

import pytest
from amaters.admin import codec
from amaters.wire import admin_pb2
from amaters_server.model.cluster import NodeState
from amaters_server.node.report.lifecycle import SEARCHING, Lifecycle, state
from amaters_server.raft.status import RaftStatus
from amaters_server.rpc.admin import encode


def test_a_node_that_opens_its_disk_does_not_say_that_it_is_empty() -> None:
    lifecycle = Lifecycle(0)

    assert state(lifecycle, RaftStatus()) is NodeState.STARTING
    assert "it opens its disk" in lifecycle.reason

    lifecycle.wait(SEARCHING)

    assert state(lifecycle, RaftStatus()) is NodeState.WAITING
    assert "its disk is empty" in lifecycle.reason


@pytest.mark.parametrize("one", NodeState, ids=lambda one: one.value)
def test_the_client_reads_every_state_that_a_node_has(one: NodeState) -> None:
    answer = admin_pb2.StatusResponse(state=encode.STATES[one])

    assert codec.node_status(answer).state.value == one.value


def test_a_state_of_a_later_server_is_unknown_and_no_failure() -> None:
    answer = admin_pb2.StatusResponse()
    answer.MergeFromString(b"\x30\x63")

    assert codec.node_status(answer).state.value == "unknown"
