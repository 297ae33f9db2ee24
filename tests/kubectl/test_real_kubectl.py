"""The same through the real kubectl, in front of a server that answers as the API server does.

It shows that every flag exists, and what goes over the wire: the fake kubectl cannot.
"""

import copy
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from amaters_kubectl.program import cli
from click.testing import CliRunner, Result

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
GROUPS = "/apis/amaters.io/v1alpha1"
LOG = b'2026-11-28T10:00:00.1Z {"level":"warning","event":"peer.lost"}\n'


def resource(name: str, kind: str) -> dict[str, Any]:
    verbs = ["get", "list", "patch"]
    return {"name": name, "kind": kind, "namespaced": True, "verbs": verbs, "singularName": ""}


def resources(version: str, *found: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": found,
    }


class Api(BaseHTTPRequestHandler):
    """Discovery, one cluster, its pods and their logs."""

    world: dict[str, Any]
    calls: list[tuple[str, str, dict[str, list[str]], Any]]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path, query = self._asked(None)
        answers = {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/api/v1": resources("v1", resource("pods", "Pod"), resource("events", "Event")),
            "/apis": {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [
                    {
                        "name": "amaters.io",
                        "versions": [
                            {"groupVersion": "amaters.io/v1alpha1", "version": "v1alpha1"}
                        ],
                        "preferredVersion": {
                            "groupVersion": "amaters.io/v1alpha1",
                            "version": "v1alpha1",
                        },
                    }
                ],
            },
            GROUPS: resources("amaters.io/v1alpha1", resource("amatersclusters", "AmatersCluster")),
            f"{GROUPS}/namespaces/shop/amatersclusters/orders": self.world["cluster"],
            "/api/v1/namespaces/shop/events": {
                "kind": "EventList",
                "apiVersion": "v1",
                "items": [],
            },
        }
        pods = self.world["pods"]
        for pod in pods:
            answers[f"/api/v1/namespaces/shop/pods/{pod['metadata']['name']}"] = pod
        if path == "/api/v1/namespaces/shop/pods":
            assert query["labelSelector"] == ["amaters.io/cluster=orders"]
            answers[path] = {"kind": "PodList", "apiVersion": "v1", "items": pods}
        if path == f"{GROUPS}/namespaces/shop/amatersclusters":
            answers[path] = {
                "kind": "AmatersClusterList",
                "apiVersion": "amaters.io/v1alpha1",
                "items": [self.world["cluster"]],
            }
        if path.endswith("/log"):
            self._send(200, LOG, "text/plain")
        elif path in answers:
            self._send(200, json.dumps(answers[path]).encode())
        else:
            gone = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "reason": "NotFound",
                "code": 404,
                "message": f"{path} not found",
            }
            self._send(404, json.dumps(gone).encode())

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._asked(body)
        after = copy.deepcopy(self.world["cluster"])
        after["spec"] |= body.get("spec", {})
        after["metadata"]["annotations"] |= body.get("metadata", {}).get("annotations", {})
        self.world["cluster"] = after
        self._send(200, json.dumps(after).encode())

    def _asked(self, body: object) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        self.calls.append((self.command, parts.path, query, body))
        return parts.path, query

    def _send(self, code: int, content: bytes, kind: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def api(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Api]]:
    cluster = make.orders()
    cluster["metadata"]["managedFields"] = [
        {
            "manager": "argocd-controller",
            "operation": "Apply",
            "apiVersion": "amaters.io/v1alpha1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:paused": {}}},
        }
    ]
    pods = [{"kind": "Pod", "apiVersion": "v1", **make.pod(n)} for n in range(2)]
    served = type("Served", (Api,), {"world": {"cluster": cluster, "pods": pods}, "calls": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), served)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}
        ],
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield served
    server.shutdown()
    server.server_close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_status_history_and_logs_are_read(api):
    status, history, logs = run("status"), run("history", "orders"), run("logs", "orders")

    assert status.exit_code == 0, status.output
    assert "orders-1 leads" in status.output
    assert history.exit_code == 0, history.output
    assert logs.exit_code == 0, logs.output
    assert logs.stdout.count("peer.lost") == 2
    [asked, _] = [query for _, path, query, _ in api.calls if path.endswith("/log")]
    assert asked.pop("timeout") == ["30s"]
    assert asked == {"container": ["amaters"], "tailLines": ["100"], "timestamps": ["true"]}


def test_a_change_is_a_merge_patch_under_our_own_name(api):
    answer = run("pause", "orders", "-n", "shop", "--context", "here")

    assert answer.exit_code == 0, answer.output
    assert "argocd-controller writes spec.paused" in answer.stderr
    [(_, path, query, body)] = [one for one in api.calls if one[0] == "PATCH"]
    assert path == f"{GROUPS}/namespaces/shop/amatersclusters/orders"
    assert query["fieldManager"] == ["kubectl-amaters"]
    assert body == {"spec": {"paused": True}}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("status", "nothing"), "not_found"),
        (("status", "orders", "--context", "nowhere"), "no_context"),
        (("undelete", "orders", "data-orders-7"), "not_in_quarantine"),
    ],
)
def test_its_own_words_are_understood(api, arguments, code):
    answer = run(*arguments, "-o", "json")

    assert answer.exit_code == 1
    assert json.loads(answer.stderr)["code"] == code


def test_an_api_server_that_does_not_answer_is_unreachable(api, monkeypatch, tmp_path):
    config = (tmp_path / "config").read_text()
    port = config.partition("127.0.0.1:")[2].partition('"')[0]
    (tmp_path / "config").write_text(config.replace(port, "9"))

    answer = run("status", "orders", "-o", "json")

    assert json.loads(answer.stderr)["code"] == "unreachable"
