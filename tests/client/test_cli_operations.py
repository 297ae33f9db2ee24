"""`amaters-cli` on servers, members and snapshots: true tables, clean machine output, exit codes.

Rewrite the golden files with `AMATERS_REWRITE_GOLDEN=1 pytest`.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from amaters.admin.cluster import (
    CertificateInfo,
    ClusterMembers,
    ConnectedClients,
    IncompatibleMember,
    MemberInfo,
    NodeState,
    NodeStatus,
)
from amaters.cli import formatting
from amaters.cli.commands import cluster_tables, cluster_view
from amaters.cli.commands.cluster_view import ClusterView, MemberView
from amaters.errors import UnreachableError
from amaters.testing.admin import FakeAdmin
from amaters.testing.aql import FakeAql, stored
from amaters.testing.faults import Fault
from amaters.testing.threads import serve_in_threads
from amaters.wire import admin_pb2
from click.testing import Result
from rich.console import Console

Cli = Callable[..., Result]
GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def member(member_id: int, **facts: object) -> MemberInfo:
    given: dict[str, object] = {
        "id": member_id,
        "name": f"demo-{member_id - 1}",
        "peer_address": f"demo-{member_id - 1}.demo-peers:7879",
        "client_address": f"demo-{member_id - 1}.demo-peers:7878",
        "is_learner": False,
        "started": True,
        "is_leader": False,
        "match_index": 1200,
        "lag_entries": 0,
        "recent_active": True,
        "version": "0.3.0",
    }
    return MemberInfo(**{**given, **facts})  # type: ignore[arg-type]


def status(one: MemberInfo, **facts: object) -> NodeStatus:
    certificate = CertificateInfo("peer", "1f", NOW + timedelta(days=30), "CN=demo")
    given: dict[str, object] = {
        "node_id": one.id,
        "name": one.name,
        "state": NodeState.LEADER if one.is_leader else NodeState.FOLLOWER,
        "reason": "",
        "ready": True,
        "restoring": False,
        "is_leader": one.is_leader,
        "leader_id": 1,
        "cluster_id": "5f1d",
        "term": 7,
        "commit_index": 1200,
        "applied_index": 1200,
        "first_log_index": 1,
        "last_log_index": 1200,
        "num_nodes": 3,
        "num_shards": 1,
        "version": "0.3.0",
        "peer_address": one.peer_address,
        "client_address": one.client_address,
        "started_at": NOW - timedelta(hours=30, minutes=5),
        "certificates": (certificate,),
    }
    return NodeStatus(**{**given, **facts})  # type: ignore[arg-type]


def picture() -> ClusterView:
    """A leader, a follower that lags, one that cannot be reached, and a learner."""
    leader = member(1, is_leader=True)
    late = member(2, lag_entries=17, match_index=1183)
    gone = member(3, recent_active=False, match_index=900, lag_entries=300)
    learner = member(4, is_learner=True, started=False, match_index=0, version="")
    error = UnreachableError("cannot connect (Connection refused)", address=gone.peer_address)
    certificate = CertificateInfo("peer", "2a", NOW + timedelta(days=3), "CN=demo")
    return ClusterView(
        asked=status(leader),
        members=ClusterMembers("5f1d", 1, 7, 1200, (leader, late, gone, learner)),
        nodes=(
            MemberView(leader, status(leader), None),
            MemberView(late, status(late, applied_index=1183, certificates=(certificate,)), None),
            MemberView(gone, None, error),
            MemberView(learner, None, error),
        ),
        from_leader=True,
    )


def drawn(view: ClusterView, width: int) -> str:
    console = Console(width=max(width, 160), no_color=True, record=True, file=None)
    with console.capture() as capture:
        console.print(cluster_tables.cluster(view, now=NOW, width=width), highlight=False)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


@pytest.mark.parametrize("width", [240, 100, 80])
def test_the_picture_of_a_cluster_is_what_the_golden_file_shows(width: int) -> None:
    golden = GOLDEN / f"cluster_status_{width}.txt"
    seen = drawn(picture(), width)
    if os.environ.get("AMATERS_REWRITE_GOLDEN"):
        golden.write_text(seen)

    assert seen == golden.read_text()


def test_every_line_of_a_narrow_table_fits() -> None:
    lines = drawn(picture(), 80).splitlines()

    assert all(len(line) <= 80 for line in lines if line.startswith(("ID", "──", "1 ", "2 ")))


MISFIT = IncompatibleMember(
    2, "1.0.0", "version 1.0.0 cannot work with 0.3.0", "correct it", NOW - timedelta(minutes=5)
)


def kept_apart(*, led: bool) -> ClusterView:
    """Member 2 and the others refuse each other."""
    one, two, three = member(1, is_leader=led), member(2), member(3)
    leader = 1 if led else 0
    back = replace(MISFIT, member_id=1, version="0.3.0", reason="it refuses this member")
    return ClusterView(
        asked=status(one),
        members=ClusterMembers("5f1d", leader, 7, 1200, (one, two, three)),
        nodes=(
            MemberView(one, status(one, leader_id=leader, incompatible=(MISFIT,)), None),
            MemberView(two, status(two, leader_id=0, incompatible=(back,)), None),
            MemberView(three, status(three, leader_id=leader, incompatible=(MISFIT,)), None),
        ),
        from_leader=led,
    )


def test_a_member_kept_out_for_its_version_is_named_with_what_to_do() -> None:
    shown = drawn(kept_apart(led=True), 240)

    assert (
        "demo-1: runs 1.0.0 and is kept out by demo-0, demo-2 since "
        f"{formatting.timestamp(MISFIT.since)}: version 1.0.0 cannot work with 0.3.0; correct it"
    ) in " ".join(shown.split())
    assert "demo-0: runs" not in shown
    facts = cluster_view.cluster_facts(kept_apart(led=True))
    assert [(one["member_id"], one["told_by"]) for one in facts["incompatible"]] == [(2, [1, 3])]


def test_the_clients_of_all_members_are_summed_up_by_version_the_oldest_first() -> None:
    one, two, three = member(1, is_leader=True), member(2), member(3)
    here = (ConnectedClients("", 1), ConnectedClients("0.9.0", 2), ConnectedClients("0.10.0", 4))
    there = (ConnectedClients("0.10.0", 3),)
    view = ClusterView(
        asked=status(one),
        members=ClusterMembers("5f1d", 1, 7, 1200, (one, two, three)),
        nodes=(
            MemberView(one, status(one, clients=here), None),
            MemberView(two, status(two, clients=there), None),
            MemberView(three, status(three), None),
        ),
        from_leader=True,
    )

    assert "Clients  1 of others, 2 of 0.9.0, 7 of 0.10.0" in drawn(view, 240)
    assert cluster_view.cluster_facts(view)["clients"] == [
        {"version": "", "connections": 1},
        {"version": "0.9.0", "connections": 2},
        {"version": "0.10.0", "connections": 7},
    ]


def test_without_a_leader_nobody_is_taken_to_be_right() -> None:
    found = kept_apart(led=False).misfits

    assert [(one.found.member_id, one.reported_by) for one in found] == [(1, (2,)), (2, (1, 3))]


@pytest.fixture
def three(served_admin: FakeAdmin) -> Iterator[FakeAdmin]:
    """The asked leader, a follower that answers, and one whose address leads nowhere."""
    follower = FakeAdmin()
    follower.status.node_id = 2
    follower.status.name = "two"
    follower.status.is_leader = False
    follower.status.state = admin_pb2.NODE_STATE_FOLLOWER
    with serve_in_threads(follower):
        served_admin.members.clear()
        served_admin.put_member(
            1, name="one", peer_address=served_admin.address, started=True, is_leader=True
        )
        served_admin.put_member(2, name="two", peer_address=follower.address, started=True)
        served_admin.put_member(3, name="three", peer_address="127.0.0.1:1", started=True)
        yield served_admin


def test_cluster_status_asks_every_member_and_shows_who_cannot_be_reached(
    ops: Cli, three: FakeAdmin
) -> None:
    found = json.loads(ops("-f", "json", "cluster", "status").stdout)

    assert [one["state"] for one in found["members"]] == ["leader", "follower", "unreachable"]
    assert [one["role"] for one in found["members"]] == ["leader", "follower", "follower"]
    assert (found["voters"], found["reachable_voters"]) == (3, 2)
    assert found["members"][2]["status"] is None
    assert "Connection refused" in found["members"][2]["error"]


def test_cluster_status_as_a_table_names_the_reason_below(ops: Cli, three: FakeAdmin) -> None:
    shown = ops("cluster", "status").stdout

    assert "★ leader" in shown
    assert "2 of 3 reachable, 2 needed to write" in shown
    assert "three: 127.0.0.1:1: cannot connect (Connection refused" in shown


def test_without_a_leader_match_and_lag_are_unknown_not_zero(ops: Cli, three: FakeAdmin) -> None:
    three.faults.plan("Members", Fault(details="an election is on", server_code="no_leader"))

    found = json.loads(ops("-f", "json", "cluster", "status").stdout)

    assert found["from_leader"] is False
    assert {one["lag_entries"] for one in found["members"]} == {None}


@pytest.mark.parametrize("command", ["status", "members"])
def test_nobody_waits_for_a_leader_to_see_that_there_is_none(
    ops: Cli, three: FakeAdmin, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(cluster_view, "ANSWER_TIMEOUT", timedelta(milliseconds=200))
    three.faults.plan("Members", Fault(silent=True))

    found = ops("-f", "json", "cluster", command)

    assert found.exit_code == 0, found.stderr
    assert {one["lag_entries"] for one in json.loads(found.stdout)["members"]} == {None}


def test_a_node_that_waits_to_be_added_says_why(ops: Cli, served_admin: FakeAdmin) -> None:
    served_admin.members.clear()
    served_admin.status.state = admin_pb2.NODE_STATE_WAITING
    served_admin.status.reason = "no cluster knows this address: add it with cluster add"

    shown = ops("cluster", "status")

    assert shown.exit_code == 0
    assert "waiting" in shown.stdout
    assert "cluster add" in shown.stdout


def test_a_removed_node_that_still_answers_is_said_to_be_no_member(
    ops: Cli, three: FakeAdmin
) -> None:
    three.status.node_id = 9
    three.status.name = "nine"
    three.status.state = admin_pb2.NODE_STATE_REMOVED
    three.status.reason = "the cluster removed member 9"

    table = ops("cluster", "status").stdout
    found = json.loads(ops("-f", "json", "cluster", "status").stdout)

    assert "nine: answered this, and is no member itself (removed): the cluster removed" in table
    assert found["outsider"]["node_id"] == 9


def test_members_in_every_shape(ops: Cli, three: FakeAdmin) -> None:
    as_json = json.loads(ops("-f", "json", "cluster", "members").stdout)
    lines = ops("-f", "ndjson", "cluster", "members").stdout.splitlines()
    table = ops("cluster", "members").stdout

    assert [one["name"] for one in as_json["members"]] == ["one", "two", "three"]
    assert [json.loads(one)["id"] for one in lines] == [1, 2, 3]
    assert "127.0.0.1:1" in table


def test_a_member_is_added_with_the_client_port_beside_it(
    ops: Cli, served_admin: FakeAdmin
) -> None:
    result = ops("cluster", "add", "new-host:7879", "--name", "new")

    assert result.exit_code == 0
    assert "amaters-cli cluster promote 2" in result.stdout
    assert served_admin.members[2].client_address == "new-host:7878"


def test_members_are_named_by_id_name_or_address(ops: Cli, three: FakeAdmin) -> None:
    three.members[3].is_learner = True

    assert ops("cluster", "promote", "three").exit_code == 0
    assert ops("cluster", "transfer", "two").stdout == "✓ Member 2 leads, in term 4\n"
    assert ops("cluster", "remove", "127.0.0.1:1").exit_code == 0
    unknown = ops("cluster", "remove", "nobody")

    assert sorted(three.members) == [1, 2]
    assert unknown.exit_code == 1
    assert "the members are 1 (one), 2 (two)" in unknown.stderr


def test_a_refusal_is_told_in_the_servers_words(ops: Cli, served_admin: FakeAdmin) -> None:
    served_admin.put_member(2, is_learner=True)

    result = ops("-f", "json", "cluster", "promote", "2")

    assert (result.exit_code, result.stdout) == (1, "")
    error = json.loads(result.stderr)
    assert error["code"] == "refused"
    assert "has not started" in error["message"]


def test_backup_stays_on_the_node_or_goes_where_it_is_told(
    ops: Cli, served_admin: FakeAdmin
) -> None:
    local = ops("admin", "backup")
    sent = json.loads(ops("-f", "json", "admin", "BACKUP", "s3://b/p", "full").stdout)
    configured = json.loads(ops("-f", "json", "admin", "backup", "--upload").stdout)

    assert "on the node" in local.stdout
    assert sent["snapshot"]["uri"].startswith("s3://b/p/")
    assert configured["snapshot"]["uri"].startswith("s3://bucket/prefix/")
    asked = [one for name, one in served_admin.calls if name == "CreateSnapshot"]
    assert [one.upload for one in asked] == [False, True, True]  # type: ignore[attr-defined]


def test_a_backup_is_done_when_it_is_where_it_should_be(ops: Cli, served_admin: FakeAdmin) -> None:
    keep, lose = served_admin.uploaded, Shelf()
    served_admin.uploaded = lose

    lost = ops("admin", "backup", "--upload")
    served_admin.uploaded = keep

    assert (lost.exit_code, lost.stdout) == (1, "")
    assert "was made and is not on s3://bucket/prefix/" in lost.stderr
    assert ops("admin", "backup", "--upload").exit_code == 0


class Shelf(dict[str, admin_pb2.Snapshot]):
    """A store that forgets what it was given, as retention gone wrong did."""

    def __setitem__(self, key: str, value: admin_pb2.Snapshot) -> None:
        pass


def test_two_writers_of_one_place_are_noticed(ops: Cli, served_admin: FakeAdmin) -> None:
    assert "other clusters" not in ops("admin", "backup", "--upload").stderr
    served_admin.uploaded["s3://b/1"] = admin_pb2.Snapshot(id=1, uri="s3://b/1", cluster_id="other")

    result = ops("admin", "backup", "--upload")

    assert result.exit_code == 0
    assert "holds backups of other clusters (other)" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize("named", ["/backups", "newest", "NEWEST", "12", "s3://bucket/prefix"])
def test_restore_hands_over_what_backup_was_given(
    ops: Cli, served_admin: FakeAdmin, named: str
) -> None:
    served_admin.restore_script = [
        admin_pb2.RestoreProgress(keys_restored=1, done=True, snapshot="s3://b/7")
    ]

    result = ops("-f", "json", "admin", "RESTORE", named, "--replace")
    remote = ops("admin", "restore", named, "--remote")

    requests = [one for _, one in served_admin.calls]
    assert [(one.uri, one.remote) for one in requests] == [(named, False), (named, True)]  # type: ignore[attr-defined]
    assert json.loads(result.stdout)["snapshot"] == "s3://b/7"
    assert "from s3://b/7" in remote.stdout


def test_an_incremental_backup_is_misuse(ops: Cli) -> None:
    assert ops("admin", "backup", "x", "incremental").exit_code == 2
    assert ops("admin", "backup", "-i").exit_code == 2


def test_snapshots_are_listed_uploaded_and_deleted(ops: Cli, served_admin: FakeAdmin) -> None:
    assert ops("admin", "snapshots").stdout == "No backups\n"
    ops("admin", "backup")

    uploaded = json.loads(ops("-f", "json", "admin", "upload", "1").stdout)
    remote = json.loads(ops("-f", "json", "admin", "snapshots", "--remote").stdout)
    assert [one["uri"] for one in remote["snapshots"]] == [uploaded["uri"]]

    assert ops("admin", "delete", "1").exit_code == 0
    assert ops("admin", "delete", uploaded["uri"]).exit_code == 0
    assert (served_admin.snapshots, served_admin.uploaded) == ({}, {})


def test_what_a_server_did_not_look_up_is_unknown_not_zero(
    ops: Cli, served_admin: FakeAdmin
) -> None:
    served_admin.uploaded["s3://b/1"] = admin_pb2.Snapshot(
        id=1, uri="s3://b/1", timestamp_ms=1_750_000_000_123
    )

    table = ops("admin", "snapshots", "--remote").stdout
    (found,) = json.loads(ops("-f", "json", "admin", "snapshots", "--remote").stdout)["snapshots"]

    assert table.splitlines()[-1].split() == [
        "1",
        "2025-06-15T15:06:40.123Z",
        "-",
        "unknown",
        "s3://b/1",
    ]
    assert (found["size_bytes"], found["key_count"]) == (None, None)


def test_restore_tells_the_total_and_leaves_stdout_clean(ops: Cli, served_admin: FakeAdmin) -> None:
    served_admin.restore_script = [
        admin_pb2.RestoreProgress(keys_restored=5, keys_total=10, bytes_restored=50),
        admin_pb2.RestoreProgress(keys_restored=10, keys_total=10, bytes_restored=100, done=True),
    ]

    result = ops("-f", "json", "admin", "restore", "s3://b/p/1.snapshot", "--replace")

    assert json.loads(result.stdout)["keys_restored"] == 10
    (_, request) = served_admin.calls[0]
    assert request.replace  # type: ignore[attr-defined]


def test_a_restore_that_breaks_off_is_a_failure(ops: Cli, served_admin: FakeAdmin) -> None:
    served_admin.restore_script = [admin_pb2.RestoreProgress(keys_restored=5, keys_total=10)]
    served_admin.faults.plan(
        "RestoreSnapshot.end", Fault(status=grpc.StatusCode.INTERNAL, details="the file is torn")
    )

    result = ops("admin", "restore", "1")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "the file is torn" in result.stderr


def test_a_refused_reload_shows_why_and_fails(ops: Cli, served_admin: FakeAdmin) -> None:
    served_admin.reload_report = admin_pb2.ReloadResponse(success=False, errors=["bad key x.y"])

    result = ops("admin", "reload")

    assert result.exit_code == 1
    assert "bad key x.y" in result.stdout
    assert "nothing was changed" in result.stderr


def test_an_internal_listener_nobody_answers_on_is_named_with_the_flag(bare: Cli) -> None:
    result = bare("--admin", "127.0.0.1:1", "cluster", "status")

    assert result.exit_code == 1
    assert "--admin HOST:PORT" in result.stderr


def test_server_status_tells_what_the_server_said_and_no_more(cli: Cli, served: FakeAql) -> None:
    found = json.loads(cli("-f", "json", "server", "status").stdout)

    assert found == {
        "address": served.address,
        "capabilities": ["query.get", "query.set", "write.sessions"],
        "state": "running",
        "supported_versions": ["0.2.0"],
        "uptime_seconds": 3661,
        "version": "0.2.0",
    }
    assert "1h 1m" in cli("server", "status").stdout


def test_server_health_fails_when_one_server_does_not_serve(
    bare: Cli, cli: Cli, served: FakeAql
) -> None:
    assert cli("server", "health").exit_code == 0

    result = bare("-f", "json", "-s", f"{served.address},127.0.0.1:1", "server", "health")

    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [one["healthy"] for one in found["servers"]] == [True, False]
    assert "Connection refused" in found["servers"][1]["message"]


def answer(fake: FakeAql, command: str, facts: object) -> None:
    blob = stored(json.dumps(facts).encode())
    fake.store.data["default", f"__admin__:{command}".encode()] = blob.SerializeToString()


def test_server_nodes_and_cluster_show_the_servers_own_facts(cli: Cli, served: FakeAql) -> None:
    node = {"node_id": "1", "address": "a:7878", "role": "leader", "state": "running"}
    answer(served, "NODES", {"nodes": [node]})
    answer(served, "CLUSTER_INFO", {"cluster_id": "5f1d", "leader_id": None})

    assert json.loads(cli("-f", "json", "server", "nodes").stdout) == {"nodes": [node]}
    table = cli("server", "nodes").stdout
    assert "a:7878" in table
    assert "leader" in table
    assert "5f1d" in cli("server", "cluster").stdout


def test_a_server_that_does_not_know_is_no_source_of_made_up_figures(cli: Cli) -> None:
    result = cli("server", "metrics")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "does not know METRICS" in result.stderr


def test_server_metrics_are_words_and_units_for_people_and_raw_for_programs(
    cli: Cli, served: FakeAql
) -> None:
    raw = {
        "avg_query_latency_ms": 0.5123,
        "cache_hit_rate": 97.25,
        "database_size_bytes": 5 * 1024 * 1024,
        "key_count": 1234567,
        "network_bytes_per_second": 2048,
        "newer_figure": 7,
        "queries_per_second": 1503.71,
        "storage_type": "lsm",
        "uptime_seconds": 3661,
    }
    answer(served, "METRICS", raw)

    table = [line.rstrip() for line in cli("server", "metrics").stdout.splitlines()]

    assert table == [
        "Storage           lsm",
        "Up                1h 1m",
        "Keys              1,234,567",
        "Size              5.0 MiB",
        "Cache Hits        97.2 %",
        "Queries           1,503.7/s",
        "Latency, average  0.51 ms",
        "Network           2.0 KiB/s",
        "newer_figure      7",
    ]
    assert json.loads(cli("-f", "json", "server", "metrics").stdout) == raw


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (3600, "1h"), (3661, "1h 1m"), (90_000, "1d 1h"), (-61, "-1m 1s")],
)
def test_spans_are_spoken_in_two_units(seconds: int, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("command", "path", "names"),
    [
        (
            ("cluster", "status"),
            ("members", 0, "status"),
            (
                "applied_index certificates client_address clients cluster_id commit_index disk fenced "
                "first_log_index incompatible is_leader last_log_index leader_id name node_id "
                "peer_address ready reason restoring set_aside started_at state term version"
            ),
        ),
        (
            ("cluster", "members"),
            ("members", 0),
            (
                "client_address id is_leader is_learner lag_entries match_index name peer_address "
                "recent_active started version"
            ),
        ),
        (("cluster", "members"), (), "cluster_id commit_index leader_id members term"),
        (
            ("cluster", "shards"),
            ("shards", 0),
            "estimated_keys estimated_size_bytes id node_id range replicas state",
        ),
        (
            ("admin", "health"),
            (),
            "alive probes ready reason status uptime_percent uptime_seconds",
        ),
        (("admin", "reload"), (), "certificates errors sections_skipped sections_updated success"),
    ],
)
def test_machine_formats_have_these_fields_and_no_others(
    ops: Cli, command: tuple[str, ...], path: tuple[str | int, ...], names: str
) -> None:
    found = json.loads(ops("-f", "json", *command).stdout)
    for step in path:
        found = found[step]

    assert set(found) == set(names.split())
