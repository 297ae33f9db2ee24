"""The admin client against a real gRPC server whose node is scripted."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from amaters.admin.client import AdminClient
from amaters.admin.cluster import DiskUsage, NodeState, SetAsideData
from amaters.errors import (
    ConfigurationError,
    DeadlineExceededError,
    NoLeaderError,
    OutcomeUnknownError,
    RefusedError,
    ServerFaultError,
    UnreachableError,
)
from amaters.testing.admin import FakeAdmin
from amaters.testing.faults import Fault
from amaters.wire import admin_pb2


async def test_status_is_read_whole(fake_admin: FakeAdmin, admin: AdminClient) -> None:
    fake_admin.status.started_unix_ms = 1_750_000_000_500
    fake_admin.status.certificates.add(
        listener="peer", serial="1f", not_after_unix=1_750_000_000, subject="CN=one"
    )

    status = await admin.status()

    assert status.state is NodeState.LEADER
    assert (status.node_id, status.term, status.applied_index, status.ready) == (1, 3, 40, True)
    assert status.started_at == datetime.fromtimestamp(1_750_000_000.5, tz=UTC)
    assert status.certificates[0].serial == "1f"
    assert status.certificates[0].not_after == datetime.fromtimestamp(1_750_000_000, tz=UTC)


async def test_a_state_of_a_newer_server_is_unknown(
    fake_admin: FakeAdmin, admin: AdminClient
) -> None:
    fake_admin.status = admin_pb2.StatusResponse(state=99)  # type: ignore[arg-type]

    assert (await admin.status()).state is NodeState.UNKNOWN


async def test_a_node_that_never_said_when_it_started_has_no_start(
    fake_admin: FakeAdmin, admin: AdminClient
) -> None:
    fake_admin.status = admin_pb2.StatusResponse()

    assert (await admin.status()).started_at is None


async def test_a_member_is_added_promoted_and_removed(admin: AdminClient) -> None:
    added = await admin.add_member(
        peer_address="two:7879", client_address="two:7878", name="node-two"
    )
    assert (added.id, added.is_learner, added.name) == (2, True, "node-two")

    with pytest.raises(RefusedError, match="has not started"):
        await admin.promote_member(added.id)

    left = await admin.remove_member(added.id)
    assert [one.id for one in left.members] == [1]

    again = await admin.add_member(peer_address="two:7879", client_address="two:7878")
    assert again.id == 3


async def test_members_are_found_by_id_and_address(
    fake_admin: FakeAdmin, admin: AdminClient
) -> None:
    fake_admin.put_member(3, is_learner=True, lag_entries=7)
    fake_admin.put_member(2)

    found = await admin.members()

    assert [one.id for one in found.members] == [1, 2, 3]
    assert [one.id for one in found.voters] == [1, 2]
    assert [one.lag_entries for one in found.learners] == [7]
    assert found.by_id(4) is None
    three = found.at("node-3:7879")
    assert three is not None
    assert three.id == 3


async def test_members_are_asked_of_the_leader_unless_told_otherwise(
    fake_admin: FakeAdmin, admin: AdminClient
) -> None:
    await admin.members()
    await admin.members(from_leader=False)

    asked = [request.from_leader for _, request in fake_admin.calls]  # type: ignore[attr-defined]
    assert asked == [True, False]


async def test_leadership_goes_to_the_named_or_the_most_caught_up(
    fake_admin: FakeAdmin, admin: AdminClient
) -> None:
    fake_admin.put_member(2, match_index=90)
    fake_admin.put_member(3, match_index=10)

    assert (await admin.transfer_leadership()).leader_id == 2
    assert (await admin.transfer_leadership(3)).leader_id == 3


async def test_a_snapshot_is_created_uploaded_listed_and_deleted(admin: AdminClient) -> None:
    first = await admin.create_snapshot()
    assert (first.uri, first.size_bytes, first.applied_index) == ("", 1024, 40)

    uri = await admin.upload_snapshot(first.id, destination="s3://b/p")
    await admin.create_snapshot(upload=True)

    assert [one.id for one in await admin.list_snapshots()] == [1, 2]
    assert next(one.uri for one in await admin.list_snapshots(remote=True)) == uri

    await admin.delete_snapshot(uri=uri)
    with pytest.raises(RefusedError):
        await admin.delete_snapshot(99)


async def test_a_restore_tells_how_far_it_is(fake_admin: FakeAdmin, admin: AdminClient) -> None:
    fake_admin.restore_script = [
        admin_pb2.RestoreProgress(keys_restored=5, keys_total=10),
        admin_pb2.RestoreProgress(keys_restored=10, keys_total=10, done=True),
    ]

    seen = [one async for one in admin.restore_snapshot("s3://b/p/1.snapshot")]

    assert [(one.keys_restored, one.done) for one in seen] == [(5, False), (10, True)]


async def test_a_restore_that_stops_short_is_no_success(
    fake_admin: FakeAdmin, admin: AdminClient
) -> None:
    fake_admin.restore_script = [admin_pb2.RestoreProgress(keys_restored=5, keys_total=10)]

    with pytest.raises(OutcomeUnknownError, match="before it was done"):
        async for _ in admin.restore_snapshot("s3://b/p/1.snapshot"):
            pass


async def test_a_restore_that_fails_midway_says_what_the_server_said(
    fake_admin: FakeAdmin, admin: AdminClient
) -> None:
    fake_admin.restore_script = [admin_pb2.RestoreProgress(keys_restored=5, keys_total=10)]
    fake_admin.faults.plan(
        "RestoreSnapshot.end",
        Fault(status=grpc.StatusCode.INTERNAL, details="the file is torn", server_code="snapshot"),
    )

    with pytest.raises(RefusedError, match="the file is torn"):
        async for _ in admin.restore_snapshot("s3://b/p/1.snapshot"):
            pass


async def test_a_reload_reports_errors_as_data(fake_admin: FakeAdmin, admin: AdminClient) -> None:
    fake_admin.reload_report = admin_pb2.ReloadResponse(success=False, errors=["bad [cluster]"])

    report = await admin.reload()

    assert (report.success, report.errors) == (False, ("bad [cluster]",))


async def test_nobody_there_is_unreachable_with_the_reason() -> None:
    async with AdminClient.connect("127.0.0.1:1") as admin:
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1.*[Cc]onnection refused"):
            await admin.status()


async def test_an_unresolvable_name_is_unreachable_with_the_reason() -> None:
    async with AdminClient.connect("no-such-host.invalid:7879") as admin:
        with pytest.raises(UnreachableError, match="check the host name"):
            await admin.status()


async def test_a_change_nobody_could_take_is_unreachable_not_unknown() -> None:
    async with AdminClient.connect("127.0.0.1:1") as admin:
        with pytest.raises(UnreachableError):
            await admin.remove_member(2)


async def test_a_lost_answer_leaves_a_change_unknown_and_a_question_unanswered(
    fake_admin: FakeAdmin,
) -> None:
    fake_admin.faults.plan("RemoveMember", Fault(silent=True))
    fake_admin.faults.plan("Status", Fault(silent=True))
    quick = timedelta(milliseconds=100)
    async with AdminClient.connect(fake_admin.address, timeout=quick) as admin:
        with pytest.raises(OutcomeUnknownError, match="check before you send it again"):
            await admin.remove_member(1)
        with pytest.raises(DeadlineExceededError):
            await admin.status()


async def test_a_refusal_by_the_server_keeps_its_own_name(
    fake_admin: FakeAdmin, admin: AdminClient
) -> None:
    fake_admin.faults.plan(
        "RemoveMember", Fault(details="node 1 knows no leader", server_code="no_leader")
    )

    with pytest.raises(NoLeaderError) as caught:
        await admin.remove_member(1)

    assert caught.value.server_code == "no_leader"
    assert caught.value.retryable
    assert caught.value.address == fake_admin.address


async def test_a_status_from_a_stranger_is_mapped_by_its_code(
    fake_admin: FakeAdmin, admin: AdminClient
) -> None:
    fake_admin.faults.plan("Status", Fault(status=grpc.StatusCode.INTERNAL, details="oops"))

    with pytest.raises(ServerFaultError, match="oops"):
        await admin.status()


@pytest.mark.parametrize("wrong", ["", "localhost", "localhost:", ":7879", "host:0", "host:99999"])
async def test_an_address_without_host_or_port_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="write HOST:PORT"):
        AdminClient.connect(wrong)


async def test_room_on_the_disk_and_what_was_set_aside_are_in_the_status(
    fake_admin: FakeAdmin, admin: AdminClient
) -> None:
    assert (await admin.status()).disk is None
    fake_admin.status.disk.total_bytes, fake_admin.status.disk.free_bytes = 100, 30
    fake_admin.status.state = admin_pb2.NODE_STATE_REMOVED

    await admin.set_aside(1, cluster_id="c0ffee")
    found = await admin.status()

    assert found.disk == DiskUsage(100, 30, 0, low=False, full=False)
    assert found.set_aside == (SetAsideData(1, 4096),)
    with pytest.raises(RefusedError, match="nothing was set aside"):
        await admin.set_aside(1, cluster_id="c0ffee")
    await admin.discard_set_aside(1)
    assert (await admin.status()).set_aside == ()
