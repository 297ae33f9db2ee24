"""`admin verify` and `admin compact`: reports to their end, and exit codes."""

import json
from collections.abc import Callable

from amaters.testing.admin import FakeAdmin
from amaters.wire import admin_pb2
from click.testing import Result

Cli = Callable[..., Result]
SOUND = admin_pb2.VerificationReport(
    done=True, ok=True, complete=True, node_id=2, verified_keys=1200, bytes_read=4096, seconds=1.5
)


def test_a_sound_disk(ops: Cli, served_admin: FakeAdmin) -> None:
    served_admin.verifications = [admin_pb2.VerificationReport(node_id=2, verified_keys=5), SOUND]

    table = ops("admin", "verify")
    last = json.loads(ops("-f", "json", "admin", "verify", "--last").stdout)

    assert table.exit_code == 0, table.stderr
    assert "sound" in table.stdout
    assert "1,200" in table.stdout
    assert (last["verified_keys"], last["duration_seconds"], last["ok"]) == (1200, 1.5, True)
    assert [request.only_look for _, request in served_admin.calls if _ == "VerifyStorage"] == [
        False,
        True,
    ]


def test_a_damaged_disk_is_a_failure(ops: Cli, served_admin: FakeAdmin) -> None:
    damaged = admin_pb2.VerificationReport()
    damaged.CopyFrom(SOUND)
    damaged.ok, damaged.corrupted_keys = False, 3
    damaged.errors.append("key k of users does not match its checksum")
    served_admin.verifications = [damaged]

    table = ops("admin", "VERIFY")
    as_json = ops("-f", "json", "admin", "verify")

    assert table.exit_code == as_json.exit_code == 1
    assert "damaged or incomplete" in table.stdout
    assert "key k of users" in table.stdout
    assert json.loads(as_json.stdout)["corrupted_keys"] == 3


def test_a_verification_that_ends_without_a_verdict_is_no_success(
    ops: Cli, served_admin: FakeAdmin
) -> None:
    served_admin.verifications = [admin_pb2.VerificationReport(node_id=2)]

    result = ops("admin", "verify")

    assert result.exit_code == 1
    assert "the node stopped reporting" in result.stderr


def test_a_compaction_is_reported_with_what_it_reclaimed(ops: Cli, served_admin: FakeAdmin) -> None:
    served_admin.compactions = [
        admin_pb2.CompactionReport(node_id=1),
        admin_pb2.CompactionReport(
            done=True,
            node_id=1,
            tables_rewritten=7,
            tables_made=2,
            bytes_before=10_240,
            bytes_after=4096,
            seconds=0.25,
        ),
    ]

    table = ops("admin", "compact")
    as_json = json.loads(ops("-f", "json", "admin", "compact", "-c", "users").stdout)

    assert table.stdout == (
        "✓ Node 1 compacted all collections in 0.2 s: 7 files became 2, 6.0 KiB reclaimed\n"
    )
    assert (as_json["bytes_reclaimed"], as_json["sstables_compacted"]) == (6144, 7)
    assert [one.collection for name, one in served_admin.calls if name == "CompactStorage"][-1] == (
        "users"
    )
