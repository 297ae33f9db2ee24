"""kopf's watches at a real API server: it understands what they ask for."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from amaters_operator.app.waker import Waker
from amaters_operator.app.watch import WATCHED, Watching, watch
from amaters_operator.app.watch_health import WatchHealth
from amaters_operator.kube import kinds
from amaters_operator.kube.client import connect
from kubernetes.aio.config import kube_config
from testbed import api_server
from testbed.api_server import ApiServer
from testbed.shell import CommandFailedError, wait_until

ROOT = Path(__file__).parents[2]
BINARIES = ROOT / ".cache" / "testbed" / "bin"

built = all((BINARIES / name).exists() for name in api_server.NEEDED)
pytestmark = [
    pytest.mark.slow,
    # kopf closes its connections after the test's loop has ended.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(not built, reason="not built: run `make cluster-up`"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server.serving(BINARIES, tmp_path_factory.mktemp("api")) as running:
        running.kubectl("create", "namespace", "shop")
        running.kubectl("apply", "--server-side", "-f", ROOT / "crds")
        wait_until(lambda: served(running), "the operator's kinds", seconds=20)
        yield running


def served(server: ApiServer) -> bool:
    try:
        server.kubectl("get", "ama,amc", "--output", "name")
    except CommandFailedError:
        return False
    return True


def ours(kind: kinds.Kind, name: str, **content: Any) -> dict[str, Any]:
    labels = {"amaters.io/cluster": "orders"}
    meta = {"name": name, "namespace": "shop", "labels": labels}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": meta, **content}


class Woken:
    def __init__(self) -> None:
        self.count = 0

    def wake(self, namespace: str, name: str) -> None:
        assert (namespace, name) == ("shop", "orders")
        self.count += 1

    def known(self, _: str) -> list[str]:
        return ["orders"]


async def until(what: str, done: Callable[[], bool]) -> None:
    for _ in range(500):
        if done():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within 10 s: {what}")


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("namespaces", [("shop",), ()])
async def test_each_watch_opens_and_each_change_wakes(server, monkeypatch, streams, namespaces):
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    clusters, backups, counted = Woken(), Woken(), []
    health, stop = WatchHealth(time.monotonic), threading.Event()
    how = Watching(health, lambda right, code: counted.append((right.verb, code)), streams)
    waker = Waker(asyncio.get_running_loop(), clusters, backups, Woken())
    running = asyncio.create_task(watch(waker, namespaces, stop, how))
    try:
        await until("all watches", lambda: counted.count(("watch", "200")) == len(WATCHED))
        name = f"a{len(namespaces)}{int(streams)}"
        for made in (
            ours(kinds.CONFIG_MAP, name, data={"a": "1"}),
            ours(kinds.SERVICE, name, spec={"ports": [{"port": 1}], "clusterIP": "None"}),
            ours(kinds.NETWORK_POLICY, name, spec={"podSelector": {}}),
            {
                **ours(kinds.BUDGET, name, spec={"maxUnavailable": 1, "selector": {}}),
                "metadata": {"name": name, "namespace": "shop"},
            },
        ):
            before = clusters.count
            await asyncio.to_thread(server.apply, [made])
            await until(f"a wake by {made['kind']}", lambda before=before: clusters.count > before)
        spec = {"image": "amaters:1", "storage": {"size": "1Gi"}}
        cluster = {**ours(kinds.CLUSTER, "orders", spec=spec)}
        await asyncio.to_thread(server.apply, [cluster])
        await until("a wake by the cluster", lambda: backups.count > 0)

        assert {code for _, code in counted} == {"200"}
        assert ("list", "200") in counted or streams
        assert ("list", "200") not in counted or not streams
        assert health.stalled() == []
        assert len(health.ages()) == len(WATCHED)
    finally:
        stop.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.sleep(1)


async def test_versions_come_without_content_and_lists_are_streamed(server, monkeypatch):
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(server.kubeconfig))
    await asyncio.to_thread(server.apply, [ours(kinds.SECRET, "tls", data={"a": "c2VjcmV0"})])
    async with connect() as kube:
        whole = await kube.get(kinds.SECRET, "shop", "tls")
        assert whole is not None
        assert (
            await kube.version(kinds.SECRET, "shop", "tls")
            == (whole["metadata"]["resourceVersion"])
        )
        assert await kube.version(kinds.SECRET, "shop", "none") == ""
        assert await kube.streams_lists()
