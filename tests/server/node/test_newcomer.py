"""A node before it is a member: it answers empty disks, and refuses everything else for now."""

import pytest
from amaters_server.model.errors import NotReadyError
from amaters_server.node.newcomer import Newcomer
from amaters_server.node.settings import Addresses, InitialMember, NodeSettings
from amaters_server.testing.loopback import founders
from amaters_server.wire import peer_pb2


@pytest.fixture
def settings(tmp_path):
    members = (InitialMember(1, "n1:1"), InitialMember(2, "n2:1"))
    return NodeSettings(Addresses("n1", "n1:1", ""), tmp_path, initial=members)


def test_a_connection_is_refused_for_now(settings):
    answer = Newcomer(settings).handshake(peer_pb2.HandshakeRequest(version_major=9))

    assert not answer.accepted
    assert "not part of a cluster yet: try again later" in answer.reason
    assert answer.incompatible
    assert not answer.removed
    assert not Newcomer(settings).receive(2, [b"message"])


async def test_an_empty_disk_is_named_before_it_answers_others(settings):
    asked = peer_pb2.IdentifyRequest(initial_members=["1:n1:1", "2:n2:1"])

    unnamed = await Newcomer(settings).identify(asked)
    named = await Newcomer(settings, "disk").identify(asked)

    assert unnamed.verdict == peer_pb2.IdentifyResponse.VERDICT_RETRY
    assert (named.verdict, named.disk_id) == (peer_pb2.IdentifyResponse.VERDICT_EMPTY, "disk")


async def test_calls_and_snapshots_are_refused_as_not_ready(settings):
    newcomer = Newcomer(settings)

    response = await newcomer.forward(peer_pb2.ForwardRequest())

    assert response.HasField("refusal")
    with pytest.raises(NotReadyError):
        newcomer.snapshot(2, peer_pb2.FetchImageRequest())


async def test_a_node_that_waits_for_the_others_reports_that_everywhere(tmp_path):
    [waiting, _] = founders(2, tmp_path)
    await waiting.start()
    try:
        assert waiting.node.status().node_id == 0
        assert waiting.node.cluster_view(0.0).own == 0
        assert waiting.node.shards() == ()
        with pytest.raises(NotReadyError, match=r"silent|starting"):
            waiting.node.members  # noqa: B018
        with pytest.raises(NotReadyError):
            await waiting.put(b"key", b"value")
    finally:
        await waiting.stop(0)
