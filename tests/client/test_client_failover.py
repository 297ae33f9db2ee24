"""Several servers over the same data: one fails, the call does not; and no write is made twice."""

import time
from datetime import timedelta

import grpc
import pytest
from amaters.data.client import AmatersClient
from amaters.errors import (
    DeadlineExceededError,
    NoLeaderError,
    OutcomeUnknownError,
    UnavailableError,
    UnreachableError,
)
from amaters.testing.aql import FakeAql, FakeCluster, stored
from amaters.testing.faults import Fault
from amaters.values import ClientOptions, Set, WriteRetries
from amaters.wire import errors_pb2

GONE = Fault(status=grpc.StatusCode.UNAVAILABLE, details="Socket closed")
SHUTTING_DOWN = errors_pb2.ErrorResponse(
    code=errors_pb2.ERROR_SERVER_SHUTTING_DOWN, message="Server shutting down: try another"
)
SESSIONS = ClientOptions(write_retries=WriteRetries.SESSIONS)
NEVER = ClientOptions(write_retries=WriteRetries.NEVER)
QUICK = timedelta(milliseconds=300)


async def test_a_dead_server_costs_a_call_well_under_a_second(cluster: FakeCluster) -> None:
    first, second = cluster.servers
    async with await AmatersClient.connect(cluster.addresses) as client:
        await client.set("c", "k", b"v")
        await cluster.stop(first)
        began = time.monotonic()

        assert await client.get("c", "k") == b"v"
        await client.set("c", "k", b"w")

        assert time.monotonic() - began < 0.5
        assert client.addresses[0] == second.address


async def test_a_silent_server_costs_a_read_well_under_a_second(cluster: FakeCluster) -> None:
    cluster.servers[0].faults.plan("ExecuteQuery", Fault(silent=True))
    options = ClientOptions(failover_silence=timedelta(milliseconds=100))
    async with await AmatersClient.connect(cluster.addresses, options=options) as client:
        began = time.monotonic()

        assert await client.get("c", "k") is None

        assert time.monotonic() - began < 0.5


async def test_connecting_passes_over_a_dead_server(cluster: FakeCluster) -> None:
    addresses = ["127.0.0.1:1", cluster.servers[1].address]
    async with await AmatersClient.connect(addresses) as client:
        assert client.addresses[0] == cluster.servers[1].address
        assert await client.get("c", "k") is None


async def test_a_write_refused_by_a_stopping_server_is_made_on_the_next(
    cluster: FakeCluster,
) -> None:
    first, second = cluster.servers
    first.refusals.append(SHUTTING_DOWN)
    async with await AmatersClient.connect(cluster.addresses) as client:
        await client.set("c", "k", b"v")

    assert (len(first.requests), len(second.requests)) == (1, 1)
    assert cluster.store.writes_applied == 1


@pytest.mark.parametrize(
    ("options", "kept"), [(NEVER, True), (ClientOptions(), False)], ids=["told so", "server cannot"]
)
async def test_a_write_whose_answer_was_lost_is_not_made_again_where_it_would_be_made_twice(
    cluster: FakeCluster, options: ClientOptions, kept: bool
) -> None:
    first, second = cluster.servers
    first.faults.plan("ExecuteQuery.after", GONE)
    first.keeps_write_sessions = second.keeps_write_sessions = kept
    async with await AmatersClient.connect(cluster.addresses, options=options) as client:
        with pytest.raises(OutcomeUnknownError, match="may or may not have been made"):
            await client.set("c", "k", b"v")

    assert second.requests == []
    assert first.requests[0].request_id == ""


async def test_servers_are_asked_about_sessions_once(cluster: FakeCluster) -> None:
    async with await AmatersClient.connect(cluster.addresses) as client:
        for number in range(3):
            await client.set("c", f"k{number}", b"v")

    assert cluster.servers[0].times_asked_for_info == 1


@pytest.mark.parametrize("fault", [GONE, Fault(silent=True)])
async def test_a_write_whose_answer_was_lost_is_made_once_with_sessions(
    cluster: FakeCluster, fault: Fault
) -> None:
    first, second = cluster.servers
    first.faults.plan("ExecuteQuery.after", fault)
    options = ClientOptions(failover_silence=QUICK)
    async with await AmatersClient.connect(cluster.addresses, options=options) as client:
        await client.set("c", "k", b"v")

    (asked,), (again,) = first.requests, second.requests
    assert asked.request_id == again.request_id
    assert asked.request_id.startswith("s:")
    assert cluster.store.writes_applied == 1


async def test_a_batch_whose_answer_was_lost_is_made_once_with_sessions(
    cluster: FakeCluster,
) -> None:
    cluster.servers[0].faults.plan("ExecuteBatch.after", GONE)
    async with await AmatersClient.connect(cluster.addresses, options=SESSIONS) as client:
        await client.batch([Set("c", "a", b"1"), Set("c", "b", b"2")])

    assert cluster.store.writes_applied == 1


async def test_a_write_once_in_doubt_stays_in_doubt(cluster: FakeCluster) -> None:
    """The second server's "not me" says nothing about what became of the first attempt."""
    first, second = cluster.servers
    first.faults.plan("ExecuteQuery.after", *[GONE] * 50)
    second.refusals.extend([SHUTTING_DOWN] * 50)
    async with await AmatersClient.connect(cluster.addresses, options=SESSIONS) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.set("c", "k", b"v", timeout=QUICK)


async def test_a_strangers_timeout_leaves_a_write_unknown_and_a_read_late(fake: FakeAql) -> None:
    timeout = errors_pb2.ErrorResponse(code=errors_pb2.ERROR_NETWORK_TIMEOUT, message="too slow")
    fake.refusals.extend([timeout] * 50)
    async with await AmatersClient.connect(fake.address, options=NEVER) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.set("c", "k", b"v", timeout=QUICK)
        with pytest.raises(DeadlineExceededError):
            await client.get("c", "k", timeout=QUICK)


async def test_an_election_is_waited_out(cluster: FakeCluster) -> None:
    election = errors_pb2.ErrorResponse(
        code=errors_pb2.ERROR_SERVER_UNAVAILABLE, message="no leader", details="code=no_leader"
    )
    for one in cluster.servers:
        one.refusals.extend([election] * 3)
    async with await AmatersClient.connect(cluster.addresses) as client:
        await client.set("c", "k", b"v")

    assert cluster.store.writes_applied == 1


async def test_an_election_that_never_ends_is_reported_when_the_time_is_up(fake: FakeAql) -> None:
    election = errors_pb2.ErrorResponse(
        code=errors_pb2.ERROR_SERVER_UNAVAILABLE, message="no leader", details="code=no_leader"
    )
    fake.refusals.extend([election] * 1000)
    async with await AmatersClient.connect(fake.address) as client:
        began = time.monotonic()
        with pytest.raises(NoLeaderError):
            await client.set("c", "k", b"v", timeout=QUICK)

    assert time.monotonic() - began < 1


@pytest.mark.slow
async def test_a_server_that_comes_back_is_found_again(cluster: FakeCluster) -> None:
    """One address, as behind a Kubernetes Service."""
    server = cluster.servers[0]
    async with await AmatersClient.connect(server.address) as client:
        await client.set("c", "k", b"v")
        await cluster.stop(server)
        with pytest.raises(UnreachableError):
            await client.get("c", "k", timeout=QUICK)
        await cluster.start(address=server.address)

        assert await client.get("c", "k", timeout=timedelta(seconds=5)) == b"v"


async def test_the_first_write_is_no_slower_to_give_up_than_any_other() -> None:
    began = time.monotonic()
    async with AmatersClient("127.0.0.1:1") as client:
        with pytest.raises(UnreachableError):
            await client.set("c", "k", b"v", timeout=QUICK)

    assert time.monotonic() - began < 1


async def test_all_servers_dead_names_each(cluster: FakeCluster) -> None:
    async with await AmatersClient.connect(cluster.addresses) as client:
        for one in cluster.servers:
            await cluster.stop(one)
        with pytest.raises(UnreachableError, match="none of 2 servers") as caught:
            await client.get("c", "k", timeout=QUICK)

    for address in cluster.addresses:
        assert address in str(caught.value)


async def test_the_leader_a_follower_names_is_asked_next(cluster: FakeCluster) -> None:
    first, second = cluster.servers
    leader = await cluster.start()
    first.refusals.append(
        errors_pb2.ErrorResponse(
            code=errors_pb2.ERROR_SERVER_UNAVAILABLE,
            message="node 1 is not the leader",
            details=f"code=not_leader leader={leader.address}",
        )
    )
    known = [first.address, second.address]
    options = ClientOptions(forwarding=False)
    async with await AmatersClient.connect(known, options=options) as client:
        await client.set("c", "k", b"v")

    assert (len(first.requests), len(second.requests), len(leader.requests)) == (1, 0, 1)
    assert first.metadata[0]["amaters-forward"] == "never"


async def test_a_scan_goes_on_behind_the_last_key_on_another_server(cluster: FakeCluster) -> None:
    for number in range(250):
        key = f"p{number:03}".encode()
        cluster.store.data["s", key] = stored(b"v").SerializeToString()
    first, second = cluster.servers
    first.faults.plan("ExecuteStream.batch", GONE)
    async with await AmatersClient.connect(cluster.addresses) as client:
        found = [one.key async for one in client.scan("s", "p")]

    assert found == [f"p{number:03}".encode() for number in range(250)]
    (resumed,) = second.requests
    assert resumed.query.range.start.data == b"p099\x00"


async def test_a_limited_scan_that_moves_keeps_its_limit(cluster: FakeCluster) -> None:
    for number in range(300):
        key = f"p{number:03}".encode()
        cluster.store.data["s", key] = stored(b"v").SerializeToString()
    cluster.servers[0].faults.plan("ExecuteStream.batch", GONE)
    async with await AmatersClient.connect(cluster.addresses) as client:
        found = [one async for one in client.scan("s", "p", limit=150)]

    assert len({one.key for one in found}) == len(found) == 150


async def test_a_scan_refused_by_a_stopping_server_is_served_by_the_next(
    cluster: FakeCluster,
) -> None:
    cluster.servers[0].faults.plan(
        "ExecuteStream",
        Fault(details="this node is shutting down", server_code="shutting_down"),
    )
    async with await AmatersClient.connect(cluster.addresses) as client:
        assert [one async for one in client.scan("s")] == []


async def test_a_failure_that_is_nobodys_fault_is_not_retried_elsewhere(
    cluster: FakeCluster,
) -> None:
    cluster.servers[0].faults.plan(
        "ExecuteQuery", Fault(status=grpc.StatusCode.INTERNAL, details="defect")
    )
    async with await AmatersClient.connect(cluster.addresses) as client:
        with pytest.raises(Exception, match="defect") as caught:
            await client.get("c", "k")

    assert not isinstance(caught.value, UnavailableError)
    assert cluster.servers[1].requests == []
