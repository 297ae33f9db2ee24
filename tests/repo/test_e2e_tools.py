"""What the e2e tests watch with and keep after a failure, without a Kubernetes."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from testbed import evidence, gaps, growing
from testbed.misfortunes import Person
from testbed.operator_killer import OperatorKiller
from testbed.quorum_monitor import QuorumMonitor
from testbed.repeated import RepeatedError
from testbed.roll_monitor import RollMonitor

from demo import workload
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
    monitor.once()
    rolled.pods["a-1"], rolled.leads = pod("3"), "a-1"
    monitor.once()
    rolled.pods["a-0"] = pod("4", ready=False)
    monitor.once()

    assert monitor.replaced == ["a-1", "a-0"]
    assert monitor.leaders == ["a-0", "a-1"]
    assert monitor.most_down == 1
    assert rolled.asked == ["a-0", "a-0", "a-1"]


def test_no_ready_pod_and_no_leader_are_samples():
    rolled = Rolled()
    monitor = RollMonitor(rolled)

    rolled.leads = None
    monitor.once()
    rolled.pods = {"a-0": pod("1", ready=False)}
    monitor.once()

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
    with pytest.raises(RepeatedError, match=r"KeyError\('a-2'\)"):
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


@dataclass
class Voting:
    """A cluster whose members a test decides."""

    ready_pods: list[str] = field(default_factory=lambda: ["a-0", "a-1"])
    voters: int = 3
    heard: int = 3
    leads: bool = True
    asked: list[str] = field(default_factory=list)

    def members(self, pod: str) -> list[dict]:
        self.asked.append(pod)
        return [
            {
                "is_leader": self.leads and number == 0,
                "is_learner": number >= self.voters,
                "recent_active": number < self.heard,
            }
            for number in range(self.voters + 1)
        ]


def test_a_quorum_monitor_notes_the_fewest_voters_and_the_least_tolerance():
    voting = Voting()
    monitor = QuorumMonitor(voting, asking=["a-1"])

    monitor.once()
    voting.voters = voting.heard = 4
    monitor.once()
    voting.heard = 2
    monitor.once()
    voting.leads = False
    monitor.once()
    voting.ready_pods = ["a-0"]
    monitor.once()

    assert monitor.seen == [(3, 3), (4, 4), (4, 2)]
    assert (monitor.fewest_voters, monitor.least_tolerance) == (3, -1)
    assert (monitor.samples, len(monitor.missed)) == (3, 1)
    assert set(voting.asked) == {"a-1"}


def test_percentiles_of_gaps_are_values_that_were_measured():
    values = [float(number) for number in range(1, 31)]

    assert [gaps.percentile(values, percent) for percent in (50, 99, 100)] == [15, 30, 30]
    assert gaps.percentile([7], 50) == 7
    assert gaps.spread([3, 1, 2]) == "3 gaps: p50 2 ms, p99 3 ms, max 3 ms"


def test_each_lap_of_a_workload_has_its_own_longest_gap():
    gap = workload.Gap(last=0.0)
    for now in (1.0, 1.5):
        gap.success(now)
    gap.next_lap(2.0)
    gap.success(5.0)
    gap.next_lap(5.1)
    record = workload.Record(writes=gap, reads=workload.Gap(0.0))

    assert record.summary()["write_gaps_of_laps_ms"] == [1000, 3500]
    assert record.summary()["longest_write_gap_ms"] == 3500


def test_quantities_of_volumes_are_read_as_bytes():
    assert [growing.amount(text) for text in ("256Mi", "1Gi", "4096")] == [1 << 28, 1 << 30, 4096]


class Obedient:
    """A cluster and its kubectl that take everything; they note what was asked."""

    name = "luck"
    namespace = "e2e"
    pods: ClassVar = {"luck-0": {}, "luck-1": {}}

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.specs: list[dict] = []

    @property
    def kubectl(self) -> Obedient:
        return self

    def __call__(self, *arguments: str, timeout: float = 60) -> str:
        self.calls.append(arguments)
        lease = {"spec": {"holderIdentity": "amaters-operator-b_1"}}
        return json.dumps(lease) if arguments[:2] == ("get", "lease") else ""

    def get(self, kind: str) -> dict:
        return {"items": [{"metadata": {"name": "node1"}}, {"metadata": {"name": "node2"}}]}

    def items(self, kind: str, selector: str) -> list[dict]:
        return [{"metadata": {"name": f"amaters-operator-{one}"}} for one in "ab"]

    def apply(self, *objects: dict) -> None:
        self.calls += [("apply", one["kind"]) for one in objects]

    def patch(self, **spec: object) -> None:
        self.specs.append(spec)


def edits(seed: int, number: int) -> tuple[list[str], Obedient, Person]:
    cluster = Obedient()
    secret = {"kind": "Secret", "metadata": {"name": "luck-tls"}}
    person = Person(cluster, random.Random(seed), secret)
    return [person.edit() for _ in range(number)], cluster, person


def test_a_seed_repeats_its_edits_and_none_deletes_a_volume():
    told, cluster, person = edits(7, 300)

    assert told == edits(7, 300)[0] != edits(8, 300)[0]
    assert len({one.split()[0] for one in told}) >= 14
    assert not any("refused" in one for one in told)
    deleted = [call for call in cluster.calls if call[0] == "delete"]
    assert not any("pvc" in word or "persistent" in word for call in deleted for word in call)
    sizes = [spec["replicas"] for spec in cluster.specs if "replicas" in spec]
    assert person.replicas == sizes[-1]


def test_a_person_takes_back_cordons_fences_holds_and_the_broken_secret():
    _, cluster, person = edits(7, 0)

    person.correct()

    assert ("uncordon", "node2") in cluster.calls
    assert ("apply", "Secret") in cluster.calls
    assert cluster.calls[2][-1] == "amaters.io/fenced-"
    assert {"hibernate": False, "paused": False}.items() <= cluster.specs[-1].items()


def test_a_killer_of_operators_kills_the_pod_that_holds_the_lease():
    world = Obedient()

    with OperatorKiller(world, seed=1, least=0.01, most=0.02) as killer:
        end = time.monotonic() + 10
        while not killer.killed and time.monotonic() < end:
            time.sleep(0.01)

    assert set(killer.killed) == {"amaters-operator-b"}
    assert all(call[2] == "amaters-operator-b" for call in world.calls if call[0] == "delete")
