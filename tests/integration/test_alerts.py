"""Three real processes: what happens to them is told by the right one, in time, and once."""

import asyncio
import signal
import time
from collections import Counter

import pytest
from aiohttp import web
from amaters import AdminClient
from amaters.admin.observations import Alert, Severity
from amaters_server.testing.processes import ServerProcess, cluster_of, kill_all, start_all

pytestmark = pytest.mark.slow

PUBLISHED_SECONDS = 1.0
"""Three heartbeats, the longest election timeout, and the published jitter."""
STEADY: dict[str, dict[str, object]] = {
    # A busy machine must not elect another leader in the middle of a story.
    "cluster": {"election_timeout_ms": 1500},
    "alerts": {"node_failed_after_ms": 1000},
}
SLACK_SECONDS = 9.0
"""For a machine that is busy with something else."""


@pytest.fixture
async def posted():
    """What a webhook has received, and its address."""
    received: list[dict[str, object]] = []

    async def take(request: web.Request) -> web.Response:
        received.append(await request.json())
        return web.Response()

    application = web.Application()
    application.router.add_post("/hook", take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield received, f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    await runner.cleanup()


@pytest.fixture
async def trio(tmp_path, posted):
    """Three nodes that post their alerts and have settled."""
    alerts = {**STEADY["alerts"], "webhook_url": posted[1]}
    servers = cluster_of(tmp_path, settings={**STEADY, "alerts": alerts})
    try:
        await start_all(servers)
        yield servers
    finally:
        kill_all(servers)


async def leader_of(servers: list[ServerProcess]) -> ServerProcess:
    up = [server for server in servers if server.is_up()]
    async with asyncio.timeout(20):
        while True:
            ids = set()
            for server in up:
                async with AdminClient.connect(server.internal) as admin:
                    ids.add((await admin.status()).leader_id)
            if len(ids) == 1 and (leader := servers[ids.pop() - 1]) in up:
                return leader
            await asyncio.sleep(0.05)


async def told(server: ServerProcess) -> list[Alert]:
    async with AdminClient.connect(server.internal) as admin:
        return [one async for one in admin.alerts()]


async def hear(server: ServerProcess, key: str, count: int = 1) -> tuple[Alert, float]:
    """Wait until the server has told that so often; return the last one, and how long it took."""
    begun = time.monotonic()
    async with asyncio.timeout(PUBLISHED_SECONDS + SLACK_SECONDS):
        while True:
            found = [one for one in await told(server) if one.key == key]
            if len(found) >= count:
                return found[-1], time.monotonic() - begun
            await asyncio.sleep(0.02)


def number(server: ServerProcess) -> int:
    return int(server.folder.name.removeprefix("node-"))


def logged(servers: list[ServerProcess]) -> Counter[str]:
    return Counter(str(one["key"]) for server in servers for one in server.events("alert.fired"))


async def test_a_killed_follower_is_told_once_by_the_leader_and_so_is_its_return(trio, posted):
    leader = await leader_of(trio)
    victim = next(server for server in trio if server is not leader)
    bystander = next(server for server in trio if server not in (leader, victim))

    victim.kill()
    failed, seconds = await hear(leader, f"node_failed:{number(victim)}")
    victim.start()
    await victim.ready()
    recovered, _ = await hear(leader, f"node_recovered:{number(victim)}")

    print(f"NodeFailed after {seconds:.2f} s")
    assert (failed.event, failed.severity) == ("NodeFailed", Severity.CRITICAL)
    assert failed.facts == {"node": number(victim)}
    assert (recovered.event, recovered.severity) == ("NodeRecovered", Severity.INFO)
    assert logged(trio) == {failed.key: 1, recovered.key: 1}
    assert await told(bystander) == []
    async with asyncio.timeout(5):
        while len(posted[0]) < 2:
            await asyncio.sleep(0.02)
    assert [one["key"] for one in posted[0]] == [failed.key, recovered.key]
    _, page = leader.page("/metrics")
    assert 'amaters_alerts_total{rule="node_failed",severity="critical"} 1' in page
    assert 'amaters_alert_webhook_total{outcome="delivered"} 2' in page
    _, page = bystander.page("/metrics")
    assert 'amaters_alerts_total{rule="node_failed",severity="critical"} 0' in page


async def test_a_killed_leader_is_one_change_and_one_failure(trio):
    old = await leader_of(trio)
    old.kill()

    new = await leader_of(trio)
    changed, _ = await hear(new, f"leader_changed:{number(new)}")
    failed, seconds = await hear(new, f"node_failed:{number(old)}")

    print(f"NodeFailed {seconds:.2f} s after LeaderChanged")
    assert changed.facts == {"old_leader": number(old), "new_leader": number(new)}
    assert changed.severity is Severity.WARNING
    assert logged(trio) == {changed.key: 1, failed.key: 1}


async def test_who_failed_under_one_leader_recovers_under_the_next(trio):
    """The first to come back makes the next leader possible: nobody saw it silent any more."""
    old = await leader_of(trio)
    victim = next(server for server in trio if server is not old)
    heir = next(server for server in trio if server not in (old, victim))
    victim.kill()
    await hear(old, f"node_failed:{number(victim)}")
    async with asyncio.timeout(SLACK_SECONDS):
        while not heir.events("member.failures_received"):
            await asyncio.sleep(0.02)

    old.kill()
    victim.start()
    await victim.ready()
    # Perhaps it leads itself: then it has heard of it from the heir.
    new = await leader_of(trio)
    recovered, _ = await hear(new, f"node_recovered:{number(victim)}")

    assert recovered.facts == {"node": number(victim)}
    assert logged([heir, victim])[recovered.key] == 1


async def test_a_leader_that_no_look_has_seen_is_named_by_the_next(tmp_path):
    """Nodes look once a second here, and leadership moves on within that second."""
    seldom = {**STEADY, "alerts": {"node_failed_after_ms": 5000}}
    servers = cluster_of(tmp_path, settings=seldom)
    try:
        await start_all(servers)
        first = await leader_of(servers)
        brief, last = (server for server in servers if server is not first)
        for before, after in ((first, brief), (brief, last)):
            async with AdminClient.connect(before.internal) as admin:
                await admin.transfer_leadership(number(after))

        changed, _ = await hear(last, f"leader_changed:{number(last)}")

        assert changed.facts == {"old_leader": number(brief), "new_leader": number(last)}
    finally:
        kill_all(servers)


async def test_two_killed_of_three_are_a_lost_quorum_which_can_be_lost_again(trio):
    leader = await leader_of(trio)
    last = next(server for server in trio if server is not leader)
    others = [server for server in trio if server is not last]

    for server in others:
        server.kill()
    lost, seconds = await hear(last, "quorum_lost")
    print(f"QuorumLost after {seconds:.2f} s")
    assert lost.facts == {"cluster_size": 3, "reachable": 1}
    assert lost.severity is Severity.CRITICAL
    assert logged([last]) == {"quorum_lost": 1}

    for server in others:
        server.start()
    await asyncio.gather(*(server.ready() for server in trio))
    for server in others:
        server.kill()
    again, _ = await hear(last, "quorum_lost", count=2)

    assert again.sequence > lost.sequence


async def test_a_stop_on_purpose_is_one_change_of_leader_and_no_failure(trio):
    old = await leader_of(trio)

    await old.stop()
    new = await leader_of(trio)
    await hear(new, f"leader_changed:{number(new)}")
    await asyncio.sleep(2.5 * PUBLISHED_SECONDS)
    old.start()
    await old.ready()
    await asyncio.sleep(1.5 * PUBLISHED_SECONDS)

    assert logged(trio) == {f"leader_changed:{number(new)}": 1}
    assert new.events("member.leaving")


async def test_a_stop_on_purpose_that_takes_too_long_is_a_failure(tmp_path):
    alerts = {**STEADY["alerts"], "planned_stop_secs": 2}
    servers = cluster_of(tmp_path, settings={**STEADY, "alerts": alerts})
    try:
        await start_all(servers)
        leader = await leader_of(servers)
        victim = next(server for server in servers if server is not leader)

        begun = time.monotonic()
        await victim.stop()
        await hear(leader, f"node_failed:{number(victim)}")

        assert time.monotonic() - begun >= 2
    finally:
        kill_all(servers)


async def test_a_removed_member_is_no_failure(trio):
    leader = await leader_of(trio)
    victim = next(server for server in trio if server is not leader)

    async with AdminClient.connect(leader.internal) as admin:
        await admin.remove_member(number(victim))
    await victim.stop()
    await asyncio.sleep(2.5 * PUBLISHED_SECONDS)

    assert logged(trio) == {}


async def test_who_follows_hears_the_end_when_the_node_stops(trio):
    leader = await leader_of(trio)
    victim = next(server for server in trio if server is not leader)

    async def keys() -> list[str]:
        async with AdminClient.connect(leader.internal) as admin:
            return [one.key async for one in admin.alerts(follow=True)]

    async def events() -> list[str]:
        async with AdminClient.connect(leader.internal) as admin:
            return [one.event async for one in admin.log(follow=True)]

    following = asyncio.gather(keys(), events())
    await asyncio.sleep(0.3)
    victim.kill()
    await hear(leader, f"node_failed:{number(victim)}")
    begun = time.monotonic()
    assert await leader.stop() == 0
    stopped = time.monotonic() - begun
    alerts, log = await following

    assert alerts == [f"node_failed:{number(victim)}"]
    assert {"server.started", "alert.fired", "server.stopping"} <= set(log)
    assert stopped < 10


async def test_a_node_that_was_asleep_blames_nobody(trio):
    leader = await leader_of(trio)
    others = [server for server in trio if server is not leader]

    leader.signal(signal.SIGSTOP)
    await leader_of_others(trio, leader)
    await asyncio.sleep(2 * PUBLISHED_SECONDS)
    leader.signal(signal.SIGCONT)
    await asyncio.gather(*(server.ready() for server in trio))
    await asyncio.sleep(1.5 * PUBLISHED_SECONDS)

    assert await told(leader) == []
    assert f"node_failed:{number(leader)}" in logged(others)
    assert f"node_recovered:{number(leader)}" in logged(others)


async def leader_of_others(servers: list[ServerProcess], asleep: ServerProcess) -> int:
    awake = next(server for server in servers if server is not asleep)
    async with asyncio.timeout(20):
        while True:
            async with AdminClient.connect(awake.internal) as admin:
                leader = (await admin.status()).leader_id
            if leader not in (0, number(asleep)):
                return leader
            await asyncio.sleep(0.05)


async def test_settings_of_alerts_are_taken_over_by_a_reload(server, posted):
    node = server()
    node.start()
    await node.ready()

    node.configure({"alerts": {"webhook_url": posted[1], "dedup_window_secs": 7}})
    async with AdminClient.connect(node.internal) as admin:
        report = await admin.reload()
        node.configure({"alerts": {"dedup_window_secs": -1}})
        refused = await admin.reload()

    assert report.success
    assert report.sections_updated == ("alerts",)
    assert not refused.success
    assert "alerts.dedup_window_secs" in refused.errors[0]
    assert posted[1] not in node.log


async def test_no_stream_ever_tells_a_secret(server, tmp_path):
    """The webhook fails in every way while someone reads the log and the configuration."""
    (tmp_path / "token").write_text("hunter2-token")
    secrets = {
        "webhook_url": "http://me:hunter2-password@127.0.0.1:1/hunter2-path?token=hunter2-query",
        "webhook_token_file": str(tmp_path / "token"),
        "webhook_attempts": 1,
    }
    servers = cluster_of(tmp_path, settings={**STEADY, "alerts": {**STEADY["alerts"], **secrets}})
    try:
        await start_all(servers)
        leader = await leader_of(servers)
        victim = next(one for one in servers if one is not leader)
        victim.kill()
        await hear(leader, f"node_failed:{number(victim)}")
        async with AdminClient.connect(leader.internal) as admin, asyncio.timeout(20):
            while True:
                log = [one async for one in admin.log()]
                if any(one.event == "alert.webhook_failed" for one in log):
                    break
                await asyncio.sleep(0.05)
    finally:
        kill_all(servers)

    shown = leader.command("validate-config", "--show").stdout
    assert "hunter2" not in str(log) + leader.log + shown
    assert "webhook_url" in shown
