"""Real nodes of versions that do not fit: kept apart on both sides, told, and whole afterwards."""

from dataclasses import replace

import pytest
from amaters.admin import codec as admin_codec
from amaters_server.alerts.events import IncompatibleMember
from amaters_server.alerts.monitor import AlertSettings, Monitor
from amaters_server.rpc.admin import encode as admin_encode
from amaters_server.testing.loopback import LoopClock, founders, leader_of, ready, until

pytestmark = pytest.mark.slow

TOO_NEW, FITTING = (1, 0, 0), (0, 3, 1)


class Heard:
    """A sink that remembers."""

    def __init__(self):
        self.alerts = []

    def report(self, alert):
        self.alerts.append(alert)


def misfits(node):
    return {one.member: one.version for one in node.node.status().incompatible}


def watched(node):
    """Return what looks at the cluster for alerts, and what it told."""
    heard = Heard()
    clock = LoopClock()
    view = node.node.cluster_view
    return Monitor(AlertSettings(), lambda: view(clock.now()), clock, [heard]), heard


async def restarted(node, version):
    await node.stop(0)
    node.settings = replace(node.settings, version=version)
    await node.start()


async def test_a_member_of_another_major_is_kept_out_and_told_until_it_fits(tmp_path):
    nodes = founders(3, tmp_path)
    for node in nodes:
        await node.start()
    await ready(nodes)
    await nodes[0].node.members.transfer(1, deadline=nodes[0].deadline())
    await nodes[0].put(b"before", b"1")
    own = nodes[0].settings.version

    await restarted(nodes[2], TOO_NEW)
    await until(lambda: all(misfits(one) == {3: TOO_NEW} for one in nodes[:2]))
    await until(lambda: misfits(nodes[2]) == {1: own, 2: own})

    # The others go on; it takes no part, says why, and nothing reaches its log.
    before = nodes[2].node.status().last_log_index
    await nodes[0].put(b"meanwhile", b"2")
    monitor, heard = watched(leader_of(nodes[:2]))
    monitor.look()
    alone, told_alone = watched(nodes[2])
    await until(lambda: bool(alone.look()) and bool(told_alone.alerts))
    verdict = nodes[2].node.readiness()
    assert nodes[2].node.status().last_log_index == before
    assert not verdict.ok
    assert "it does not work with member 1: " in verdict.reason
    assert [one.event for one in heard.alerts] == [IncompatibleMember.__name__]
    assert heard.alerts[0].message.startswith("node-3 (member 3) runs version 1.0.0, which cannot")
    assert IncompatibleMember.__name__ in {one.event for one in told_alone.alerts}
    [found] = nodes[0].node.status().incompatible
    since = found.since_unix_ms
    [read] = admin_codec.node_status(
        admin_encode.status(nodes[0].node.status(), [], ready=True)
    ).incompatible
    assert (read.member_id, read.version, read.reason) == (3, "1.0.0", found.reason)
    assert (read.advice, int(read.since.timestamp() * 1000)) == (found.advice, since)

    await restarted(nodes[2], TOO_NEW)
    await until(lambda: misfits(nodes[2]) == {1: own, 2: own})
    assert [one.since_unix_ms for one in nodes[0].node.status().incompatible] == [since]

    await restarted(nodes[2], FITTING)
    await ready(nodes)
    await until(lambda: not any(misfits(one) for one in nodes))
    assert await nodes[2].get(b"before") == b"1"
    assert await nodes[2].get(b"meanwhile") == b"2"
    for node in reversed(nodes):
        await node.stop(0)


async def test_a_removed_member_is_no_misfit_any_more(tmp_path):
    nodes = founders(3, tmp_path)
    for node in nodes:
        await node.start()
    await ready(nodes)
    await nodes[0].node.members.transfer(1, deadline=nodes[0].deadline())
    await restarted(nodes[2], TOO_NEW)
    await until(lambda: all(misfits(one) == {3: TOO_NEW} for one in nodes[:2]))

    await nodes[0].node.members.remove(3, deadline=nodes[0].deadline())

    await until(lambda: not any(misfits(one) for one in nodes[:2]))
    for node in reversed(nodes):
        await node.stop(0)
