"""The door to Kubernetes, against an HTTP server that notes what it is asked."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from amaters_operator.kube import kinds
from amaters_operator.kube.client import KubernetesApi, connect
from amaters_operator.kube.errors import (
    ApiRejectedError,
    ApiUnreachableError,
    ConflictError,
    ForbiddenError,
    LeaseLostError,
)
from kubernetes.aio.client import ApiClient, Configuration


class Server:
    """Answers everything with what the test says, and notes the question."""

    def __init__(self) -> None:
        self.status, self.body = 200, {}
        self.headers: dict[str, str] = {}
        self.accepted: list[str] = []
        self.busy = 0
        """How many requests it answers with 429 first."""
        self.busy_headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, dict, str, object]] = []

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.accepted.append(request.headers.get("Accept", ""))
        self.asked.append(
            (
                request.method,
                request.path,
                dict(request.query),
                request.content_type,
                json.loads(text) if text else None,
            )
        )
        if self.busy:
            self.busy -= 1
            text = "Too many requests, please try again later."
            return web.Response(status=429, text=text, headers=self.busy_headers)
        return web.json_response(self.body, status=self.status, headers=self.headers)


@asynccontextmanager
async def api(server: Server, may_write=lambda: True, deadline=5.0, count=lambda *_: None):
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    async with TestServer(app) as running:
        configuration = Configuration()
        configuration.host = str(running.make_url("")).rstrip("/")
        async with ApiClient(configuration) as client:
            yield KubernetesApi(client, deadline_seconds=deadline, may_write=may_write, count=count)


CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data-a-0", "namespace": "ns"},
}


async def test_objects_are_read_by_name_and_absence_is_none() -> None:
    server = Server()
    server.body = {"kind": "Secret"}
    async with api(server) as kube:
        found = await kube.get(kinds.SECRET, "ns", "tls")
        server.status = 404
        absent = await kube.get(kinds.CLUSTER, "ns", "a")

    assert found == {"kind": "Secret"}
    assert absent is None
    assert [one[:2] for one in server.asked] == [
        ("GET", "/api/v1/namespaces/ns/secrets/tls"),
        ("GET", "/apis/amaters.io/v1alpha1/namespaces/ns/amatersclusters/a"),
    ]


async def test_objects_are_found_by_labels() -> None:
    server = Server()
    server.body = {"items": [{"a": 1}]}
    async with api(server) as kube:
        found = await kube.find(kinds.POD, "ns", labels={"x": "1", "y": "2"})

    assert found == [{"a": 1}]
    assert server.asked[0][2] == {"labelSelector": "x=1,y=2"}


async def test_apply_is_server_side_by_one_manager_and_forced() -> None:
    server = Server()
    async with api(server) as kube:
        await kube.apply(CLAIM)
        await kube.apply(CLAIM, manager="other", status=True)

    [plain, status] = server.asked
    assert plain[:3] == (
        "PATCH",
        "/api/v1/namespaces/ns/persistentvolumeclaims/data-a-0",
        {"fieldManager": "amaters-operator", "force": "true"},
    )
    assert plain[3] == "application/apply-patch+yaml"
    assert plain[4] == CLAIM
    assert status[1].endswith("/data-a-0/status")
    assert status[2]["fieldManager"] == "other"


async def test_eviction_names_the_uid_and_reports_why_it_was_refused() -> None:
    server = Server()
    async with api(server) as kube:
        allowed = await kube.evict("ns", "a-0", uid="u1")
        causes = [{"reason": "DisruptionBudget", "message": "needs 2 healthy pods and has 2"}]
        server.status = 429
        server.body = {
            "message": "would violate the disruption budget",
            "details": {"causes": causes},
        }
        refused = await kube.evict("ns", "a-0", uid="u1")
        server.status = 404
        gone = await kube.evict("ns", "a-0", uid="u1")

    assert (allowed, gone) == ("", "")
    assert refused == "would violate the disruption budget"
    method, path, _, _, body = server.asked[0]
    assert (method, path) == ("POST", "/api/v1/namespaces/ns/pods/a-0/eviction")
    assert body["deleteOptions"] == {"preconditions": {"uid": "u1"}}


async def test_deleting_what_is_gone_or_another_is_no_failure() -> None:
    server = Server()
    async with api(server) as kube:
        for server.status in (200, 404, 409):
            await kube.delete(kinds.BUDGET, "ns", "a", uid="u1")

    assert server.asked[0][4]["preconditions"] == {"uid": "u1"}


async def test_a_kind_is_served_when_its_group_lists_it() -> None:
    server = Server()
    async with api(server) as kube:
        server.body = {"resources": [{"name": "servicemonitors"}]}
        yes = await kube.serves(kinds.MONITOR)
        server.body = {"resources": [{"name": "prometheusrules"}]}
        no = await kube.serves(kinds.MONITOR)
        server.status = 404
        never = await kube.serves(kinds.MONITOR)

    assert (yes, no, never) == (True, False, False)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, ForbiddenError),
        (403, ForbiddenError),
        (409, ConflictError),
        (422, ApiRejectedError),
        (429, ApiUnreachableError),
        (503, ApiUnreachableError),
    ],
)
async def test_each_refusal_has_its_error_with_the_servers_words(status: int, error: type) -> None:
    server = Server()
    server.status, server.body = status, {"message": "because of the test"}
    async with api(server, deadline=0.5) as kube:
        with pytest.raises(error, match=r"apply PersistentVolumeClaim ns/data-a-0: because of"):
            await kube.apply(CLAIM)


@pytest.mark.parametrize("clock_skew", [timedelta(seconds=400), timedelta(hours=-1)])
async def test_the_time_is_the_servers_whatever_the_clock_here_says(clock_skew: timedelta) -> None:
    server = Server()
    theirs = datetime.now(UTC) + clock_skew
    server.headers = {"Date": format_datetime(theirs, usegmt=True)}
    async with api(server) as kube:
        with pytest.raises(ApiUnreachableError, match="is not known"):
            kube.now()
        await kube.get(kinds.POD, "ns", "a-0")

        assert abs((kube.now() - theirs).total_seconds()) < 3


async def test_without_the_lease_nothing_is_written_and_everything_read() -> None:
    server = Server()
    async with api(server, may_write=lambda: False) as kube:
        await kube.get(kinds.POD, "ns", "a-0")
        for call in (
            kube.apply(CLAIM),
            kube.delete(kinds.CLAIM, "ns", "a", uid="u1"),
            kube.evict("ns", "a-0", uid="u1"),
        ):
            with pytest.raises(LeaseLostError, match="the Lease is not held"):
                await call

    assert [one[0] for one in server.asked] == ["GET"]


async def test_an_answer_that_is_no_json_floods_no_log() -> None:
    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=500, text="<html>" + "x" * 50_000)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", broken)
    async with TestServer(app) as running:
        configuration = Configuration()
        configuration.host = str(running.make_url("")).rstrip("/")
        async with ApiClient(configuration) as client:
            with pytest.raises(ApiUnreachableError) as caught:
                await KubernetesApi(client, deadline_seconds=5).apply(CLAIM)

    assert len(str(caught.value)) < 1200


async def test_a_silent_server_is_an_answer_in_time() -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:9"
    async with ApiClient(configuration) as client:
        with pytest.raises(ApiUnreachableError, match="does not answer"):
            await KubernetesApi(client, deadline_seconds=1).get(kinds.POD, "ns", "a")


async def test_without_any_way_in_the_error_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))

    with pytest.raises(ApiUnreachableError, match="outside, set KUBECONFIG"):
        async with connect():
            pass


async def test_another_object_of_the_name_is_a_conflict_and_no_mistake_of_the_spec() -> None:
    server = Server()
    why = 'ConfigMap "a" is invalid: metadata.uid: Invalid value: "u": field is immutable'
    server.status, server.body = 422, {"message": why}
    async with api(server) as kube:
        with pytest.raises(ConflictError, match="field is immutable"):
            await kube.apply(CLAIM)


async def test_a_busy_server_is_asked_again_when_it_says_so() -> None:
    server = Server()
    server.body = {"kind": "Pod"}
    server.busy, server.busy_headers = 2, {"Retry-After": "1"}
    async with api(server) as kube:
        began = time.monotonic()
        found = await kube.get(kinds.POD, "ns", "a-0")
        took = time.monotonic() - began

    assert found == {"kind": "Pod"}
    assert len(server.asked) == 3
    assert 2 <= took < 3


async def test_while_the_server_asks_for_patience_nothing_else_is_sent_either() -> None:
    server = Server()
    server.busy, server.busy_headers = 1, {"Retry-After": "1"}
    async with api(server) as kube:
        first = asyncio.create_task(kube.get(kinds.POD, "ns", "a-0"))
        await asyncio.sleep(0.3)
        others = [asyncio.create_task(kube.get(kinds.POD, "ns", "b")) for _ in range(20)]
        await asyncio.sleep(0.3)
        during = len(server.asked)
        await asyncio.gather(first, *others)

    assert during == 1
    assert len(server.asked) == 22


async def test_an_eviction_that_the_load_refuses_is_not_one_that_a_budget_refuses() -> None:
    server = Server()
    server.busy, server.busy_headers = 100, {"Retry-After": "1"}
    async with api(server, deadline=0.5) as kube:
        with pytest.raises(ApiUnreachableError, match=r"evict pod ns/a-0: Too many requests"):
            await kube.evict("ns", "a-0", uid="u1")


@pytest.mark.parametrize("header", ["soon", "-5", "1e9", "", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_a_time_that_is_none_means_a_second(header: str) -> None:
    server = Server()
    server.busy, server.busy_headers = 1, {"Retry-After": header}
    async with api(server) as kube:
        began = time.monotonic()
        await kube.get(kinds.POD, "ns", "a-0")

    assert 1 <= time.monotonic() - began < 2


async def test_every_request_is_counted_by_right_and_code() -> None:
    server, counted = Server(), []
    async with api(server, count=lambda right, code: counted.append((*right, code))) as kube:
        server.status = 404
        await kube.get(kinds.SECRET, "ns", "tls")
        server.status = 201
        await kube.apply(CLAIM)
        server.body = {"resources": []}
        await kube.serves(kinds.MONITOR)

    assert counted == [
        ("", "secrets", "get", "404"),
        ("", "persistentvolumeclaims", "patch", "201"),
        ("", "(discovery)", "get", "201"),
    ]


async def test_a_version_is_read_without_the_content() -> None:
    server = Server()
    server.body = {"metadata": {"resourceVersion": "42"}}
    async with api(server) as kube:
        assert await kube.version(kinds.SECRET, "ns", "tls") == "42"
        server.status = 404
        assert await kube.version(kinds.SECRET, "ns", "tls") == ""

    assert "PartialObjectMetadata" in server.accepted[0]


@pytest.mark.parametrize(
    ("version", "streams"),
    [
        ({"major": "1", "minor": "34"}, True),
        ({"major": "1", "minor": "34+"}, True),
        ({"major": "2", "minor": "0"}, True),
        ({"major": "1", "minor": "33"}, False),
        ({}, False),
        ({"major": "one", "minor": []}, False),
    ],
)
async def test_lists_are_streamed_where_the_server_can(version: dict, streams: bool) -> None:
    server = Server()
    server.body = version
    async with api(server) as kube:
        assert await kube.streams_lists() is streams
