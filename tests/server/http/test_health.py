import pytest
from amaters_server.http.health import Health, HealthStatus
from amaters_server.http.probes import (
    ProbeResult,
    ProbeStatus,
    disk_probes,
    probe_disk_space,
    probe_storage,
    run_all,
    worst,
)
from amaters_server.node.values import Verdict

YES = Verdict(ok=True)
NO = Verdict(ok=False, reason="no leader")


class Node:
    def __init__(self) -> None:
        self.alive = self.ready = YES
        self.now = 1000.0

    def health(self, *, clustered: bool = True) -> Health:
        return Health(lambda: self.alive, lambda: self.ready, clustered, unix_time=lambda: self.now)


@pytest.fixture
def node():
    return Node()


def unwell(status: ProbeStatus) -> dict[str, ProbeResult]:
    return {"disk_space": ProbeResult(status, "low")}


def test_a_ready_node_is_healthy(node):
    assert node.health().status() is HealthStatus.HEALTHY


def test_a_node_that_was_never_ready_is_starting_and_alive(node):
    node.ready = NO
    health = node.health()

    assert health.status() is HealthStatus.STARTING
    assert health.alive().ok
    assert health.readiness_report() == {"ready": False, "reason": "no leader"}


def test_losing_the_leader_degrades_and_never_kills(node):
    health = node.health()
    assert health.status() is HealthStatus.HEALTHY
    node.ready = NO

    assert health.status() is HealthStatus.DEGRADED
    assert health.liveness_report()["alive"] is True


def test_a_full_disk_is_unhealthy_and_never_kills(node):
    health = node.health()
    health.probed(unwell(ProbeStatus.UNHEALTHY))

    assert health.status() is HealthStatus.UNHEALTHY
    assert health.alive().ok


def test_a_low_disk_degrades(node):
    health = node.health()
    health.probed(unwell(ProbeStatus.DEGRADED))

    assert health.status() is HealthStatus.DEGRADED


def test_no_progress_is_not_alive(node):
    node.alive = Verdict(ok=False, reason="the storage thread hangs")

    assert node.health().status() is HealthStatus.UNHEALTHY
    assert node.health().liveness_report()["alive"] is False


def test_stopping_comes_first(node):
    health = node.health()
    health.stopping()

    assert health.status() is HealthStatus.SHUTTING_DOWN
    assert health.status().value == "shuttingdown"
    assert not health.ready().ok
    assert health.alive().ok


def test_the_report_has_the_published_fields_in_order(node):
    report = node.health(clustered=False).report()

    assert list(report) == [
        "status",
        "version",
        "uptime_seconds",
        "components",
        "dependencies",
        "probes",
        "uptime_percent",
        "timestamp",
    ]
    assert report["components"][2] == {
        "name": "cluster",
        "status": "starting",
        "message": "cluster disabled (standalone mode)",
        "last_check": 1000,
    }


def test_the_history_keeps_the_last_ten_and_the_share_alive(node):
    health = node.health()
    assert health.history_report()["uptime_percent"] == 100.0
    for number in range(12):
        node.alive = YES if number % 2 else Verdict(ok=False)
        node.now += 60
        health.record()

    report = health.history_report()

    assert report["history_count"] == 10
    assert report["uptime_percent"] == 50.0
    assert report["uptime_seconds"] == 720
    assert report["history"][-1] == {
        "timestamp": 1720,
        "status": "healthy",
        "alive": True,
        "ready": True,
    }


def test_probes_of_a_good_disk(tmp_path):
    results = run_all(disk_probes(tmp_path, tmp_path))

    assert {name: one.status for name, one in results.items()} == dict.fromkeys(
        ["storage", "wal", "disk_space"], ProbeStatus.HEALTHY
    )
    assert results["storage"].message == "storage read/write/delete OK"
    assert list(tmp_path.iterdir()) == []


def test_probes_of_a_disk_that_is_gone(tmp_path):
    gone = tmp_path / "gone"

    results = run_all(disk_probes(gone, gone))

    assert {one.status for one in results.values()} == {ProbeStatus.UNHEALTHY}
    assert probe_storage(gone).message == "storage cannot be written: No such file or directory"


def test_room_is_compared_with_the_threshold_and_a_quarter_of_it(tmp_path):
    free = int(probe_disk_space(tmp_path).message.split()[3])

    assert probe_disk_space(tmp_path, free // 2).status is ProbeStatus.HEALTHY
    assert probe_disk_space(tmp_path, free * 2).status is ProbeStatus.DEGRADED
    assert probe_disk_space(tmp_path, free * 8).status is ProbeStatus.UNHEALTHY


def test_the_worst_wins():
    assert worst({}) is ProbeStatus.HEALTHY
    assert (
        worst({"a": ProbeResult(ProbeStatus.DEGRADED, ""), **unwell(ProbeStatus.UNHEALTHY)})
        is ProbeStatus.UNHEALTHY
    )
