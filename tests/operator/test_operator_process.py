"""The operator's own process: what it watches, what it shows, what it logs, how it fails."""

import asyncio
import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import kopf
import pytest
from amaters_operator.__main__ import main
from amaters_operator.app import health, logs
from amaters_operator.app.health import Metrics
from amaters_operator.app.waker import Waker
from amaters_operator.app.watch import WATCHED, Watching, registry
from amaters_operator.app.watch_health import WatchHealth
from click.testing import CliRunner
from prometheus_client import CollectorRegistry


class Woken:
    def __init__(self, *known: str) -> None:
        self.names: list[tuple[str, str]] = []
        self._known = list(known)

    def wake(self, namespace: str, name: str) -> None:
        self.names.append((namespace, name))

    def known(self, _: str) -> list[str]:
        return self._known


def handlers() -> tuple[kopf.OperatorRegistry, Woken, Woken]:
    clusters, backups = Woken("a", "b"), Woken()
    loop = SimpleNamespace(call_soon_threadsafe=lambda call, *arguments: call(*arguments))
    waker = Waker(loop, clusters, backups, Woken())
    return registry(waker, Watching(WatchHealth(time.monotonic))), clusters, backups


def by_resource(made: kopf.OperatorRegistry) -> dict:
    return {handler.id: handler.fn for handler in made._watching.get_all_handlers()}


def test_kopf_is_given_nothing_for_which_it_would_write() -> None:
    made, *_ = handlers()

    assert len(made._watching.get_all_handlers()) == len(WATCHED)
    assert not made._changing.get_all_handlers()
    assert not made._spawning.get_all_handlers()
    assert not made._indexing.get_all_handlers()


async def test_each_event_wakes_whom_it_concerns() -> None:
    made, clusters, backups = handlers()
    reported = by_resource(made)

    await reported["amatersclusters"](namespace="ns", name="a", body={"metadata": {"uid": "1"}})
    await reported["pods"](namespace="ns", labels={"amaters.io/cluster": "b"})
    await reported["persistentvolumeclaims"](
        namespace="ns", labels={"app.kubernetes.io/instance": "c"}
    )
    await reported["services"](namespace="ns", labels={})

    assert clusters.names == [("ns", "a"), ("ns", "b"), ("ns", "c")]
    assert backups.names == [("ns", "a")]


async def test_an_access_wakes_its_cluster_for_edits_and_not_for_its_status() -> None:
    made, clusters, backups = handlers()
    event = by_resource(made)["amatersaccesses"]
    spec = {"clusterName": "orders"}

    def body(generation: int, **more: object) -> dict:
        return {"metadata": {"uid": "u", "generation": generation}, "spec": spec} | more

    for told in (
        {"type": None, "body": body(1)},
        {"type": "MODIFIED", "body": body(1, status={"inForce": "x"})},
        {"type": "MODIFIED", "body": body(2)},
        {"type": "DELETED", "body": body(2)},
        {"type": "ADDED", "body": body(2)},
        {"type": "ADDED", "body": {"metadata": {"uid": "v", "generation": 1}}},
    ):
        await event(namespace="ns", name="a", **told)

    assert clusters.names == [("ns", "orders")] * 4
    assert backups.names == []


async def test_a_budget_wakes_its_namespace_when_its_spec_changes() -> None:
    made, clusters, _ = handlers()
    budget = by_resource(made)["poddisruptionbudgets"]

    def body(generation: int) -> dict:
        return {"metadata": {"uid": "u", "generation": generation, "labels": {}}}

    await budget(namespace="ns", name="theirs", body=body(1), type=None)
    await budget(namespace="ns", name="theirs", body=body(1), type="MODIFIED")
    await budget(namespace="ns", name="theirs", body=body(2), type="MODIFIED")
    await budget(namespace="ns", name="theirs", body=body(2), type="DELETED")

    assert clusters.names == [("ns", "a"), ("ns", "b")] * 3


async def test_the_pod_is_unwell_when_an_object_is_overdue() -> None:
    overdue: list[str] = []
    metrics = Metrics(CollectorRegistry())
    metrics.actions.labels("ReplacePod").inc()
    now = 0.0
    watches = WatchHealth(lambda: now)
    watches.expect([("/api/v1/pods", "pods")])
    async with (
        health.serving(0, metrics, lambda: overdue, watches) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        async with session.get("/livez") as well:
            assert (well.status, await well.text()) == (200, "ok")
        overdue.append("shop/orders")
        async with session.get("/livez") as unwell:
            assert (unwell.status, await unwell.text()) == (503, "overdue: shop/orders")
        async with session.get("/metrics") as page:
            shown = await page.text()
        assert 'amaters_operator_moves_total{move="ReplacePod"} 1.0' in shown
        assert 'amaters_operator_watch_age_seconds{resource="pods"} 0.0' in shown
        overdue.clear()
        now = 200.0
        async with session.get("/livez") as dead:
            assert (dead.status, await dead.text()) == (503, "overdue: watch of pods (200 s)")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_the_imports_is_obeyed_and_not_lost(number: signal.Signals) -> None:
    started = [sys.executable, "-c", "from amaters_operator.entry import main; main()", "run"]
    held_back = ["env", f"--block-signal={number.name}", *started]
    with subprocess.Popen(held_back, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 10
        while not blocked(process.pid) >> (number - 1) & 1:
            assert time.monotonic() < end

        process.send_signal(number)

        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def blocked(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk:"))


def test_logs_are_json_with_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logs.configure(level="info", json=True)
        logging.getLogger("amaters_operator.test").info("cluster.event", extra={"cluster": "a/b"})
        logging.getLogger("amaters_operator.test").debug("not shown")
    finally:
        root.handlers[:], root.level = before

    [line] = capsys.readouterr().err.splitlines()
    reported = json.loads(line)
    assert (reported["event"], reported["cluster"], reported["level"]) == (
        "cluster.event",
        "a/b",
        "info",
    )
    assert reported["timestamp"].endswith("Z")


@pytest.mark.parametrize("arguments", [[], ["--namespace", "a", "--all-namespaces"]])
def test_which_namespaces_must_be_said(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, ["run", *arguments])

    assert done.exit_code == 2
    assert "give either --namespace" in done.output


def test_no_way_to_kubernetes_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        done = CliRunner().invoke(main, ["run", "--namespace", "a", "--http-port", "0"])
    finally:
        root.handlers[:], root.level = before
        asyncio.set_event_loop(None)

    assert done.exit_code == 1
    assert "amaters-operator: cannot connect to the Kubernetes API" in done.output
    assert "Traceback" not in done.output


async def test_the_operators_own_status_wakes_no_worker() -> None:
    made, clusters, _ = handlers()
    reported = by_resource(made)

    def body(generation: int = 1, annotations: dict | None = None, **status: object) -> dict:
        meta = {"uid": "u", "generation": generation, "annotations": annotations or {}}
        return {"metadata": meta, "status": status}

    changes = [body(), body(phase="Running"), body(ready="1/3"), body(generation=2)]
    changes += [body(generation=2, annotations={"amaters.io/backup": "now"})]
    changes += [body(generation=2, annotations={"amaters.io/backup": "now"}, phase="Degraded")]
    for one in changes:
        await reported["amatersclusters"](namespace="ns", name="a", body=one, type="MODIFIED")
    await reported["amatersclusters"](namespace="ns", name="a", body=changes[-1], type="DELETED")

    assert len(clusters.names) == 4
