"""What the e2e tests watch with and keep after a failure, without a Kubernetes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from testbed import evidence
from testbed.roll_monitor import RollMonitor, RollMonitorError

from demo.kubectl import CommandError


def pod(uid: str, *, ready: bool = True) -> dict:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {"metadata": {"uid": uid}, "status": {"conditions": [condition]}}


@dataclass
class Rolled:
    """A cluster of two, as demo.clusters.Cluster shows it."""

    pods: dict[str, dict] = field(default_factory=lambda: {"a-0": pod("1"), "a-1": pod("2")})
    leads: str | Exception | None = "a-0"
    asked: list[str] = field(default_factory=list)

    def leader(self) -> str:
        return str(self.leads)

    def members(self, pod: str) -> list[dict]:
        self.asked.append(pod)
        if isinstance(self.leads, Exception):
            raise self.leads
        return [{"name": name, "is_leader": name == self.leads} for name in self.pods]


def test_a_monitor_notes_the_order_of_the_roll_and_each_change_of_leadership():
    rolled = Rolled()
    monitor = RollMonitor(rolled)

    rolled.pods["a-1"] = pod("3", ready=False)
    monitor.sample()
    rolled.pods["a-1"], rolled.leads = pod("3"), "a-1"
    monitor.sample()
    rolled.pods["a-0"] = pod("4", ready=False)
    monitor.sample()

    assert monitor.replaced == ["a-1", "a-0"]
    assert monitor.leaders == ["a-0", "a-1"]
    assert monitor.most_down == 1
    assert rolled.asked == ["a-0", "a-0", "a-1"]


def test_no_ready_pod_and_no_leader_are_samples():
    rolled = Rolled()
    monitor = RollMonitor(rolled)

    rolled.leads = None
    monitor.sample()
    rolled.pods = {"a-0": pod("1", ready=False)}
    monitor.sample()

    assert monitor.most_down == 2
    assert monitor.leaders == ["a-0"]


@pytest.mark.parametrize(
    "error", [CommandError("refused"), subprocess.TimeoutExpired("kubectl", 1)]
)
def test_a_sample_that_kubectl_could_not_take_is_counted_and_the_monitor_goes_on(error):
    rolled = Rolled()
    with RollMonitor(rolled, interval=0.001) as monitor:
        rolled.leads = error
        until(lambda: monitor.missed)
        rolled.leads = "a-1"
        until(lambda: monitor.leaders == ["a-0", "a-1"])
    assert str(error) in monitor.missed


def monitored(rolled: Rolled, body: Callable[[RollMonitor], object]) -> None:
    """Monitor a roll that breaks the monitor, and run this once it has stopped."""
    with RollMonitor(rolled, interval=0.001) as monitor:
        rolled.pods["a-2"] = pod("of a pod that was not there")
        until(lambda: not monitor._thread.is_alive())
        body(monitor)


@pytest.mark.parametrize("body", [RollMonitor.check, lambda _: None], ids=["in it", "at its end"])
def test_any_other_error_fails_the_test_with_its_reason(body):
    with pytest.raises(RollMonitorError, match=r"KeyError\('a-2'\)"):
        monitored(Rolled(), body)


def test_a_test_that_failed_by_itself_names_the_monitors_error_too():
    def body(_: RollMonitor) -> None:
        raise AssertionError("mine")

    with pytest.raises(AssertionError, match="mine") as caught:
        monitored(Rolled(), body)
    assert "KeyError('a-2')" in caught.value.__notes__[0]


class Kubectl:
    """Answers as kubectl does about one pod that has restarted never."""

    def __call__(self, *arguments: str) -> str:
        if "--previous" in arguments:
            raise CommandError("previous terminated container not found")
        if arguments[0] == "get" and arguments[1] == "events":
            raise subprocess.TimeoutExpired("kubectl", 60)
        return " ".join(arguments)

    def get(self, kind: str) -> dict:
        assert kind == "pod"
        return {"items": [{"metadata": {"name": "a-0"}, "spec": {"containers": [{"name": "s"}]}}]}


def test_evidence_is_logs_events_and_objects_and_the_reason_where_there_is_none(tmp_path: Path):
    folder = tmp_path / "e2e" / "test_x"
    folder.mkdir(parents=True)
    (folder / "of-an-earlier-run.log").touch()

    evidence.keep(Kubectl(), folder)

    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert texts.keys() == {"objects.yaml", "events.txt", "a-0.s.log", "a-0.s.previous.log"}
    assert texts["objects.yaml"].startswith("get amc,statefulset,pod")
    assert texts["a-0.s.log"] == "logs a-0 --container s --timestamps"
    assert "previous terminated container not found" in texts["a-0.s.previous.log"]
    assert "timed out" in texts["events.txt"]


def test_evidence_without_a_reachable_cluster_is_the_reason(tmp_path: Path):
    class Unreachable(Kubectl):
        def __call__(self, *arguments: str) -> str:
            raise CommandError("connection refused")

        def get(self, kind: str) -> dict:
            return json.loads(self("get", kind))

    evidence.keep(Unreachable(), tmp_path / "kept")

    texts = [path.read_text() for path in (tmp_path / "kept").iterdir()]
    assert texts == ["not available: connection refused\n"] * 2


def until(condition: Callable[[], object]) -> None:
    """Wait until the monitor's thread has come so far."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "not within 10 s"
        time.sleep(0.001)
