"""A network that falls silent: one address, as of a Kubernetes Service, and several servers behind it."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import pytest
from amaters.admin.client import AdminClient
from amaters.compat import AmateRSClient, ClientConfig
from amaters.data.client import AmatersClient
from amaters.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    OutcomeUnknownError,
    UnreachableError,
)
from amaters.testing.admin import serve_admin
from amaters.testing.aql import CallContext, FakeAql, FakeCluster, serve_aql, stored
from amaters.testing.proxy import Proxy, proxied
from amaters.transport.connections import completed
from amaters.transport.endpoint import MAX_DRAINING
from amaters.transport.probe_timeout import LONGEST_SECONDS, MEMORY_SECONDS, ProbeTimeout
from amaters.values import ClientOptions, WriteRetries
from amaters.wire import aql_pb2, errors_pb2

pytestmark = pytest.mark.slow

QUICK = timedelta(milliseconds=500)
SOON = 3.0
"""Seconds: 1.0 to 1.1 on an idle machine, and 30 if nothing were done."""
OPTIONS = ClientOptions(connection_silence=QUICK)
NEVER = ClientOptions(connection_silence=QUICK, write_retries=WriteRetries.NEVER)


@pytest.fixture
async def service(cluster: FakeCluster) -> AsyncIterator[Proxy]:
    """One address in front of two servers that hold the same data."""
    async with proxied(*cluster.addresses) as proxy:
        yield proxy


async def test_a_call_goes_on_elsewhere_a_second_after_the_network_was_cut(
    service: Proxy, cluster: FakeCluster
) -> None:
    """With the options that everybody has."""
    async with await AmatersClient.connect(service.address) as client:
        await client.set("c", "k", b"v")
        service.cut()
        begun = time.monotonic()

        assert await client.get("c", "k") == b"v"

        assert 0.9 < time.monotonic() - begun < SOON
        begun = time.monotonic()
        await client.set("c", "k", b"w")
        assert time.monotonic() - begun < 0.5
    assert [link.target for link in service.links] == cluster.addresses
    assert cluster.store.writes_applied == 2


async def test_a_write_of_a_session_is_repeated_and_made_once(
    service: Proxy, cluster: FakeCluster
) -> None:
    async with await AmatersClient.connect(service.address, options=OPTIONS) as client:
        await client.set("c", "k", b"v")
        service.cut()

        await client.set("c", "k", b"w")
        service.heal()
        await asyncio.sleep(0.1)

        assert await client.get("c", "k") == b"w"
    assert cluster.store.writes_applied == 2


async def test_a_write_that_must_not_be_repeated_waits_on_the_old_connection(
    service: Proxy, cluster: FakeCluster
) -> None:
    first, second = cluster.servers
    async with await AmatersClient.connect(service.address, options=NEVER) as client:
        await client.get("c", "k")
        service.cut()
        writing = asyncio.create_task(client.set("c", "k", b"v"))
        await asyncio.sleep(0.05)

        assert await client.get("c", "k") is None
        assert not writing.done()
        service.heal()
        await writing

        assert await client.get("c", "k") == b"v"
    assert cluster.store.writes_applied == 1
    assert len(second.requests) == 2
    assert len(first.requests) >= 2


async def test_a_lone_write_that_hangs_has_the_next_call_use_a_new_connection(
    service: Proxy,
) -> None:
    async with await AmatersClient.connect(service.address, options=NEVER) as client:
        await client.get("c", "k")
        service.cut()
        with pytest.raises(OutcomeUnknownError):
            await client.set("c", "k", b"v", timeout=3 * QUICK)
        begun = time.monotonic()

        await client.set("c", "k", b"w")

        assert time.monotonic() - begun < QUICK.total_seconds()
    assert len(service.links) == 2


def filled(cluster: FakeCluster, rows: int) -> list[bytes]:
    keys = [f"p{number:04}".encode() for number in range(rows)]
    for key in keys:
        cluster.store.data["s", key] = stored(b"v" * 1000).SerializeToString()
    return keys


async def test_a_stream_under_way_lives_on_in_the_old_connection(
    service: Proxy, cluster: FakeCluster
) -> None:
    keys = filled(cluster, 2000)
    first, second = cluster.servers
    async with await AmatersClient.connect(service.address, options=OPTIONS) as client:
        scan = client.scan("s", "p")
        found = [(await anext(scan)).key]
        service.cut()
        await client.get("s", keys[0])
        service.heal()

        found += [one.key async for one in scan]

    assert found == keys
    streams = [one for one in first.requests if one.query.HasField("range")]  # type: ignore[union-attr]
    assert len(streams) == 1
    assert len(second.requests) == 1


async def test_a_scan_that_waits_goes_on_behind_its_last_key_elsewhere(
    service: Proxy, cluster: FakeCluster
) -> None:
    keys = filled(cluster, 2000)
    async with await AmatersClient.connect(service.address, options=OPTIONS) as client:
        found = []
        async for entry in client.scan("s", "p"):
            found.append(entry.key)
            if len(found) == 1:
                service.cut()

    assert found == keys
    assert len(service.links) >= 2


class SlowAql(FakeAql):
    """A server that takes its time for every query."""

    async def ExecuteQuery(  # noqa: N802 The published name.
        self, request: aql_pb2.QueryRequest, context: CallContext
    ) -> aql_pb2.QueryResponse:
        await asyncio.sleep(1.5)
        return await super().ExecuteQuery(request, context)


async def test_a_slow_answer_over_a_sound_connection_is_waited_for() -> None:
    async with (
        serve_aql(SlowAql()) as slow,
        proxied(slow.address) as proxy,
        await AmatersClient.connect(proxy.address) as client,
    ):
        await asyncio.gather(*(client.get("c", f"k{number}") for number in range(20)))

    assert len(slow.requests) == 20
    assert len(proxy.links) == 1


async def test_connecting_tries_again_when_the_first_attempts_lead_nowhere(
    service: Proxy,
) -> None:
    service.swallowing = 2
    begun = time.monotonic()
    async with await AmatersClient.connect(service.address, options=OPTIONS) as client:
        assert await client.get("c", "k") is None

    assert time.monotonic() - begun < 2 * SOON
    assert len(service.links) >= 3


async def test_where_nothing_gets_through_a_call_ends_in_its_time(service: Proxy) -> None:
    async with await AmatersClient.connect(service.address, options=OPTIONS) as client:
        await client.get("c", "k")
        service.cut()
        service.swallowing = 1000
        begun = time.monotonic()
        with pytest.raises(UnreachableError):
            await client.get("c", "k", timeout=timedelta(seconds=3))

        assert time.monotonic() - begun < 4
    # Four attempts are under way at most, and further ones become rare.
    assert len(service.links) <= 6


async def test_old_connections_are_closed_and_their_number_is_bounded(
    service: Proxy, cluster: FakeCluster
) -> None:
    async with await AmatersClient.connect(service.address, options=NEVER) as client:
        writes = []
        for number in range(MAX_DRAINING + 2):
            await client.get("c", "k")
            service.cut()
            write = client.set("c", f"k{number}", b"v", timeout=timedelta(seconds=20))
            writes.append(asyncio.create_task(write))
            await asyncio.sleep(0.01)
        await client.get("c", "k")
        await asyncio.sleep(0.1)

        over = [write for write in writes if write.done()]
        assert len(over) == 2
        for write in over:
            with pytest.raises(OutcomeUnknownError, match="closed meanwhile"):
                await write
        service.heal()
        await asyncio.gather(*writes[2:])
    assert cluster.store.writes_applied >= MAX_DRAINING


async def test_a_connection_without_anything_under_way_is_closed_at_once(service: Proxy) -> None:
    async with await AmatersClient.connect(service.address, options=OPTIONS) as client:
        await client.get("c", "k")
        service.cut()
        await client.get("c", "k")
        service.links[0].heal()
        await asyncio.sleep(0.2)

        assert client.connections == 1
        assert len([task for task in asyncio.all_tasks() if task.get_name() == "drain"]) == 0


@pytest.mark.parametrize("write", [False, True])
async def test_closing_the_client_fails_what_waits_with_an_error_of_its_own(
    service: Proxy, write: bool
) -> None:
    client = await AmatersClient.connect(service.address, options=NEVER)
    await client.get("c", "k")
    service.cut()
    calling = asyncio.create_task(client.set("c", "k", b"v") if write else client.entry("c", "k"))
    await asyncio.sleep(0.05)

    await client.close()

    with pytest.raises(OutcomeUnknownError if write else InvalidRequestError):
        await calling
    with pytest.raises(InvalidRequestError, match="the client is closed"):
        await client.get("c", "k")


async def test_cancelling_a_call_is_still_cancelling_it(service: Proxy) -> None:
    async with await AmatersClient.connect(service.address, options=NEVER) as client:
        await client.get("c", "k")
        service.cut()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.set("c", "k", b"v")


async def test_usual_calls_make_no_task_and_leave_no_timer(service: Proxy) -> None:
    async with await AmatersClient.connect(service.address) as client:
        await client.set("c", "k", b"v")
        for _ in range(100):
            await client.get("c", "k")

        names = {task.get_name() for task in asyncio.all_tasks()}
    assert not names & {"dial", "connect", "drain", "probe"}


async def test_a_server_that_does_not_serve_for_long_is_left_for_another(
    service: Proxy, cluster: FakeCluster
) -> None:
    first, second = cluster.servers
    no_leader = errors_pb2.ErrorResponse(
        code=errors_pb2.ERROR_SERVER_UNAVAILABLE, message="no leader", details="code=no_leader"
    )
    first.refusals.extend([no_leader] * 10_000)
    async with await AmatersClient.connect(service.address) as client:
        begun = time.monotonic()

        assert await client.get("c", "k") is None

        assert 3.0 < time.monotonic() - begun < 6.0
    assert len(second.requests) == 1


async def test_several_addresses_leave_a_silent_connection_too(cluster: FakeCluster) -> None:
    async with proxied(cluster.addresses[0]) as proxy:
        addresses = [proxy.address, cluster.addresses[1]]
        async with await AmatersClient.connect(addresses, options=OPTIONS) as client:
            await client.get("c", "k")
            proxy.cut()
            await client.get("c", "k")
            await cluster.stop(cluster.servers[1])

            assert await client.get("c", "k", timeout=timedelta(seconds=15)) is None
    # More of them when this machine is too busy to answer within a quarter of a second.
    assert len(proxy.links) >= 2


async def test_the_published_client_goes_on_elsewhere_too(service: Proxy) -> None:
    client = await AmateRSClient.connect_with_config(ClientConfig(service.address))
    async with client:
        await client.set("c", "k", b"v")
        service.cut()
        begun = time.monotonic()

        assert await client.get("c", "k") == b"v"

        assert time.monotonic() - begun < SOON


async def test_an_administrators_question_is_asked_again_over_a_new_connection() -> None:
    async with (
        serve_admin() as fake,
        proxied(fake.address) as proxy,
        AdminClient.connect(proxy.address, timeout=timedelta(seconds=20)) as admin,
    ):
        await admin.status()
        proxy.cut()
        begun = time.monotonic()
        assert (await admin.status()).node_id == 1
        assert time.monotonic() - begun < SOON


async def test_an_administrators_change_lives_on_in_the_old_connection() -> None:
    async with (
        serve_admin() as fake,
        proxied(fake.address) as proxy,
        AdminClient.connect(proxy.address, timeout=timedelta(seconds=20)) as admin,
    ):
        await admin.status()
        proxy.cut()
        changing = asyncio.create_task(admin.reload())
        await asyncio.sleep(1.5)

        assert (await admin.status()).node_id == 1
        assert not changing.done()
        proxy.heal()
        assert (await changing).success


async def test_following_alerts_ends_when_the_network_is_cut() -> None:
    async with (
        serve_admin() as fake,
        proxied(fake.address) as proxy,
        AdminClient.connect(proxy.address) as admin,
    ):
        await admin.status()
        begun = time.monotonic()

        async def follow() -> None:
            async for _ in admin.alerts(follow=True):
                proxy.cut()

        proxy.links[0].cut()
        with pytest.raises(UnreachableError, match="not even a health check"):
            await follow()
        assert time.monotonic() - begun < 8


async def test_an_administrators_first_question_survives_an_attempt_that_leads_nowhere() -> None:
    async with (
        serve_admin() as fake,
        proxied(fake.address) as proxy,
        AdminClient.connect(proxy.address, timeout=timedelta(seconds=20)) as admin,
    ):
        proxy.swallowing = 1

        assert (await admin.status()).node_id == 1
    assert len(proxy.links) == 2


async def test_calls_with_short_deadlines_get_away_from_a_silent_connection(service: Proxy) -> None:
    """None of them waits long enough to find the connection silent by itself."""
    short = timedelta(milliseconds=300)
    async with await AmatersClient.connect(service.address) as client:
        await client.get("c", "k")
        service.cut()
        failed = 0
        while client.replacements == 0:
            with suppress(DeadlineExceededError, UnreachableError):
                await client.get("c", "k", timeout=short)
                break
            failed += 1

        assert 2 <= failed <= 8
        await client.get("c", "k", timeout=timedelta(seconds=5))


class StarvedAql(SlowAql):
    """A server that is not scheduled for a second whenever it is asked something."""

    async def HealthCheck(  # noqa: N802 The published name.
        self, request: aql_pb2.HealthCheckRequest, context: CallContext
    ) -> aql_pb2.HealthCheckResponse:
        await asyncio.sleep(0.9)
        return await super().HealthCheck(request, context)


async def test_a_server_that_is_slow_to_answer_probes_is_given_more_time() -> None:
    async with (
        serve_aql(StarvedAql()) as starved,
        proxied(starved.address) as proxy,
        await AmatersClient.connect(proxy.address, options=OPTIONS) as client,
    ):
        for number in range(5):
            await client.get("c", f"k{number}")
        settled = client.replacements
        for number in range(5):
            await client.get("c", f"k{number}")

        assert 1 <= settled <= 3
        assert client.replacements == settled


SLOW_BEFORE = 4.0
"""Seconds a server took for a probe: it is given twice as long from then on."""


def was_slow(client: AmatersClient) -> None:
    (endpoint,) = client._endpoints.all()
    endpoint._probe_timeout.note(SLOW_BEFORE, asyncio.get_running_loop().time())


async def test_a_silent_connection_is_left_soon_although_the_server_was_slow_before(
    service: Proxy, cluster: FakeCluster
) -> None:
    async with await AmatersClient.connect(service.address) as client:
        await client.set("c", "k", b"v")
        was_slow(client)
        service.cut()
        begun = time.monotonic()

        assert await client.get("c", "k") == b"v"

        assert 0.9 < time.monotonic() - begun < SOON
        assert client.replacements == 1
    assert [link.target for link in service.links] == cluster.addresses


async def test_rivals_are_tried_until_one_is_answered(service: Proxy) -> None:
    async with await AmatersClient.connect(service.address, options=OPTIONS) as client:
        await client.set("c", "k", b"v")
        was_slow(client)
        service.cut()
        service.swallowing = 2
        begun = time.monotonic()

        assert await client.get("c", "k") == b"v"

        assert time.monotonic() - begun < SLOW_BEFORE
    assert len(service.links) == 4


async def test_connecting_tries_elsewhere_soon_although_the_server_was_slow_before(
    service: Proxy,
) -> None:
    async with AmatersClient(service.address) as client:
        was_slow(client)
        service.swallowing = 2
        begun = time.monotonic()

        assert await client.get("c", "k") is None

        assert 1.9 < time.monotonic() - begun < SLOW_BEFORE


async def test_a_server_that_is_slow_for_every_connection_keeps_the_first() -> None:
    async with (
        serve_aql(StarvedAql()) as starved,
        proxied(starved.address) as proxy,
        await AmatersClient.connect(proxy.address, options=OPTIONS) as client,
    ):
        was_slow(client)
        for number in range(3):
            await client.get("c", f"k{number}")

        assert client.replacements == 0


async def test_time_in_which_this_process_did_not_run_is_not_the_servers_silence() -> None:
    answered = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, time.sleep, 0.6)
    answer = threading.Timer(0.75, loop.call_soon_threadsafe, [answered.set])
    answer.start()

    assert await completed(answered, 0.5)
    answer.join()


async def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    begun = time.monotonic()
    assert not await completed(asyncio.Event(), 0.2)
    assert 0.19 < time.monotonic() - begun < 1


def test_patience_grows_with_what_was_measured_is_bounded_and_is_forgotten() -> None:
    probe_timeout = ProbeTimeout(0.5)
    assert probe_timeout.seconds(0) == 0.5
    probe_timeout.note(0.1, 1)
    assert probe_timeout.seconds(1) == 0.5
    probe_timeout.note(0.5, 2)
    probe_timeout.note(0.4, 3)
    assert probe_timeout.seconds(3) == 1.0
    probe_timeout.note(1000, 4)
    assert probe_timeout.seconds(4 + MEMORY_SECONDS - 1) == LONGEST_SECONDS
    assert probe_timeout.seconds(4 + MEMORY_SECONDS) == 0.5


def test_patience_is_never_below_what_was_asked_for() -> None:
    probe_timeout = ProbeTimeout(60)
    probe_timeout.note(30, 0)
    assert probe_timeout.seconds(0) == 60


async def test_replacements_are_counted_and_logged_with_what_to_look_at(
    service: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "amaters")
    async with await AmatersClient.connect(service.address, options=OPTIONS) as client:
        await client.get("c", "k")
        assert client.replacements == 0
        service.cut()
        await client.get("c", "k")

        assert client.replacements == len(caplog.messages) >= 1
    assert caplog.messages[0].startswith(f"connection_replaced: {service.address}: the server")
    assert "look at the network" in caplog.messages[0]


async def test_closing_while_a_connection_is_replaced_leaves_nothing_behind(service: Proxy) -> None:
    client = await AmatersClient.connect(service.address, options=OPTIONS)
    await client.get("c", "k")
    service.cut()
    service.swallowing = 100
    reading = asyncio.create_task(client.get("c", "k"))
    while not client.replacements:
        await asyncio.sleep(0.01)

    await client.close()

    with pytest.raises(InvalidRequestError, match="closed"):
        await reading
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not names & {"dial", "connect", "drain", "probe"}
