"""`cluster alerts`, `cluster shards`, `admin logs`, `admin download`: for people, and for programs."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
import yaml
from amaters.admin.observations import Alert, LogRecord, Severity
from amaters.cli.commands import alerts, logs
from amaters.testing.admin import FakeAdmin
from amaters.testing.faults import Fault
from amaters.testing.threads import serve_in_threads
from amaters.wire import admin_pb2
from click.testing import Result
from rich.console import Console

Cli = Callable[..., Result]


def fired(sequence: int, key: str, **fields) -> admin_pb2.Alert:
    given = {
        "rule": key.partition(":")[0],
        "event": "NodeFailed",
        "severity": admin_pb2.SEVERITY_CRITICAL,
        "message": "demo-2 (member 3) does not answer",
        "advice": "bring it back",
        "runbook": "docs/operations/node-failed.md",
        "facts": {"node": 3},
        "node_id": 1,
        "node_name": "demo-0",
        "at_unix_ms": 1_750_000_000_123 + sequence,
    }
    return admin_pb2.Alert(sequence=sequence, key=key, **{**given, **fields})


@pytest.fixture
def told(served_admin: FakeAdmin) -> FakeAdmin:
    """A node alone that has told two alerts, the older one last."""
    served_admin.put_member(1, peer_address=served_admin.address, started=True, is_leader=True)
    served_admin.alerts = [fired(1, "node_failed:3"), fired(2, "quorum_lost")]
    return served_admin


def test_alerts_say_when_how_severe_what_and_what_to_do(ops: Cli, told: FakeAdmin):
    shown = ops("cluster", "alerts").stdout.splitlines()

    assert shown[0] == ("2025-06-15T15:06:40.124Z  critical  node_failed:3  reported by demo-0")
    assert shown[1] == "  demo-2 (member 3) does not answer"
    assert shown[2] == "  bring it back (docs/operations/node-failed.md)"
    assert len(shown) == 6


def test_alerts_of_all_members_are_merged_by_time(ops: Cli, told: FakeAdmin):
    other = FakeAdmin()
    other.alerts = [fired(1, "leader_changed:2", node_id=2, at_unix_ms=1_750_000_000_000)]
    with serve_in_threads(other):
        told.put_member(2, peer_address=other.address, started=True)
        told.put_member(3, peer_address="127.0.0.1:1", started=True)
        told.put_member(4, peer_address="127.0.0.1:1", started=False)

        answer = ops("-f", "json", "cluster", "alerts")

    keys = [one["key"] for one in json.loads(answer.stdout)["alerts"]]
    assert keys == ["leader_changed:2", "node_failed:3", "quorum_lost"]
    assert answer.stderr.count("left out: 127.0.0.1:1") == 1


def test_only_so_many_of_the_newest_are_shown(ops: Cli, told: FakeAdmin):
    found = ops("-f", "ndjson", "cluster", "alerts", "-n", "1").stdout.splitlines()

    assert [json.loads(one)["key"] for one in found] == ["quorum_lost"]


def test_no_alerts_are_said_to_be_none(ops: Cli, served_admin: FakeAdmin):
    served_admin.put_member(1, peer_address=served_admin.address, started=True)

    assert ops("cluster", "alerts").stdout == "No alerts\n"
    assert json.loads(ops("-f", "json", "cluster", "alerts").stdout) == {"alerts": []}


@pytest.mark.parametrize("form", ["table", "json", "yaml", "ndjson"])
def test_following_ends_when_the_node_stops_and_repeats_nothing(
    ops: Cli, told: FakeAdmin, form: str
):
    threading.Timer(0.3, lambda: setattr(told, "stopped", True)).start()

    answer = ops("-f", form, "cluster", "alerts", "--follow")

    assert answer.exit_code == 0
    assert answer.stdout.count("quorum_lost") == {"table": 1}.get(form, 2)
    assert "nothing more of this member" in answer.stderr
    if form == "yaml":
        assert len(list(yaml.safe_load_all(answer.stdout))) == 2


def test_one_shard_of_all_keys_is_a_line(ops: Cli, served_admin: FakeAdmin):
    served_admin.put_member(2)

    shown = ops("cluster", "shards").stdout.splitlines()
    (found,) = json.loads(ops("-f", "json", "cluster", "shards").stdout)["shards"]

    assert shown[-1].split() == ["1", "all", "active", "1", "1,", "2", "12", "4.0", "KiB"]
    assert found["replicas"] == [1, 2]
    assert found["range"] == {"start": "", "end": ""}


def records() -> list[admin_pb2.LogRecord]:
    return [
        admin_pb2.LogRecord(sequence=1, level="info", event="server.started", at_unix_ms=1),
        admin_pb2.LogRecord(
            sequence=2,
            level="error",
            event="disk.failed",
            at_unix_ms=1_750_000_000_123,
            fields={"reason": "no room", "node": "1", "exception": "Traceback\n  here"},
        ),
    ]


def test_logs_are_lines_with_fields_and_tracebacks_below(ops: Cli, served_admin: FakeAdmin):
    served_admin.log = records()

    shown = ops("admin", "logs", "--level", "error").stdout.splitlines()

    assert shown == [
        '2025-06-15T15:06:40.123Z  error    disk.failed  reason="no room"  node=1',
        "Traceback",
        "  here",
    ]


@pytest.mark.parametrize("spelling", [["-n", "1"], ["1", "false"], ["--lines", "1"]])
def test_the_last_lines_are_shown_in_every_spelling(
    ops: Cli, served_admin: FakeAdmin, spelling: list[str]
):
    served_admin.log = records()

    found = json.loads(ops("-f", "json", "admin", "LOGS", *spelling).stdout)["logs"]

    assert [one["event"] for one in found] == ["disk.failed"]
    assert found[0]["fields"]["reason"] == "no room"


def test_following_the_log_ends_when_the_node_stops(ops: Cli, served_admin: FakeAdmin):
    served_admin.log = records()
    threading.Timer(0.3, lambda: setattr(served_admin, "stopped", True)).start()

    answer = ops("-f", "json", "admin", "logs", "--follow")

    assert [json.loads(one)["sequence"] for one in answer.stdout.splitlines()] == [1, 2]
    assert "logs nothing more: it stops" in answer.stderr


def test_a_download_is_a_whole_file_under_its_own_name(
    ops: Cli, served_admin: FakeAdmin, tmp_path: Path
):
    ops("admin", "backup")

    answer = json.loads(ops("-f", "json", "admin", "download", "newest", str(tmp_path)).stdout)
    named = ops("admin", "download", "1", str(tmp_path / "mine.bin"))

    assert answer["path"] == str(tmp_path / f"snapshot-{1:020}.bin")
    assert Path(answer["path"]).read_bytes() == (tmp_path / "mine.bin").read_bytes() == bytes(1024)
    assert named.stdout.startswith("✓ Downloaded backup 1, 1.0 KiB")
    assert not list(tmp_path.glob("*.partial"))


def test_a_download_is_for_nobody_else_and_not_written_through_a_link(
    ops: Cli, served_admin: FakeAdmin, tmp_path: Path
) -> None:
    ops("admin", "backup")
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "mine.bin.partial").symlink_to(victim)

    done = ops("admin", "download", "newest", str(tmp_path / "mine.bin"))

    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "mine.bin").stat().st_mode & 0o077 == 0
    assert victim.read_text() == "untouched"


def test_a_download_that_breaks_off_leaves_nothing_behind(
    ops: Cli, served_admin: FakeAdmin, tmp_path: Path
):
    ops("admin", "backup")
    served_admin.faults.plan(
        "DownloadSnapshot.end", Fault(status=grpc.StatusCode.UNAVAILABLE, details="gone")
    )

    answer = ops("admin", "download", "1", str(tmp_path / "mine.bin"))

    assert answer.exit_code == 1
    assert "gone" in answer.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        admin_pb2.SnapshotChunk(offset=0, data=b"x", crc32=1, total_bytes=1),
        admin_pb2.SnapshotChunk(offset=1, data=b"", crc32=0, total_bytes=1),
        admin_pb2.SnapshotChunk(offset=0, data=b"", crc32=0, total_bytes=0, sha256="00"),
        admin_pb2.SnapshotChunk(offset=0, data=b"", crc32=0, total_bytes=5, sha256="00"),
        admin_pb2.SnapshotChunk(offset=0, data=b"", crc32=0, total_bytes=5),
    ],
)
def test_a_download_that_is_not_the_file_is_refused(
    bare: Cli, tmp_path: Path, wrong: admin_pb2.SnapshotChunk
):
    class Wrong(FakeAdmin):
        async def DownloadSnapshot(self, request, context):  # noqa: N802
            yield wrong

    fake = Wrong()
    with serve_in_threads(fake):
        answer = bare("--admin", fake.address, "admin", "download", "1", str(tmp_path / "f"))

    assert answer.exit_code == 1
    assert "did not arrive whole" in answer.stderr
    assert list(tmp_path.glob("f*")) == []


def test_a_file_that_exists_is_replaced_only_by_force(
    ops: Cli, served_admin: FakeAdmin, tmp_path: Path
):
    ops("admin", "backup")
    target = tmp_path / "mine.bin"
    target.write_text("precious")

    refused = ops("admin", "download", "1", str(target))
    assert (refused.exit_code, target.read_text()) == (1, "precious")
    assert "--force" in refused.stderr

    assert ops("admin", "download", "1", str(target), "--force").exit_code == 0
    assert target.read_bytes() == bytes(1024)


def drawn(what: object) -> list[str]:
    console = Console(width=80, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(what, highlight=False)
    return capture.get().splitlines()


def test_alerts_and_log_lines_fit_eighty_columns():
    at = datetime(2026, 11, 21, 14, 3, 22, 123000, UTC)
    alert = Alert(
        1, "SlowReplication", "slow_replication", Severity.WARNING, "slow_replication:12", {},
        "demo-11 (member 12) answers, but is 123456 log entries behind", "look at it",
        "docs/operations/slow-replication.md", 1, "demo-0", at,
    )  # fmt: skip
    record = LogRecord(1, at, "warning", "leader.changed", {"node": "1", "leader": "2"})

    assert [len(line) <= 80 for line in drawn(alerts.shown(alert))] == [True] * 3
    assert len(drawn(logs.shown(record))) == 1


def test_health_is_told_and_sets_the_exit_code(ops: Cli, served_admin: FakeAdmin):
    served_admin.health.probes.add(name="disk_space", status="healthy", message="9 GiB free")
    well = ops("admin", "health")
    served_admin.health.MergeFrom(
        admin_pb2.HealthResponse(status="degraded", reason="it knows no leader")
    )
    served_admin.health.ready = False
    ill = ops("-f", "json", "admin", "health")

    assert well.exit_code == 0
    assert well.stdout.splitlines()[-1].split() == ["disk_space", "healthy", "9", "GiB", "free"]
    assert ill.exit_code == 1
    assert json.loads(ill.stdout)["reason"] == "it knows no leader"
