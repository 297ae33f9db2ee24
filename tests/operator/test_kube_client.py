"""The door to Kubernetes, against an HTTP server that notes what it is asked."""

import json
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
        self.asked: list[tuple[str, str, dict, str, object]] = []

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.asked.append(
            (
                request.method,
                request.path,
                dict(request.query),
                request.content_type,
                json.loads(text) if text else None,
            )
        )
        return web.json_response(self.body, status=self.status, headers=self.headers)


@asynccontextmanager
async def api(server: Server, may_write=lambda: True):
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    async with TestServer(app) as running:
        configuration = Configuration()
        configuration.host = str(running.make_url("")).rstrip("/")
        async with ApiClient(configuration) as client:
            yield KubernetesApi(client, deadline_seconds=5, may_write=may_write)


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
        server.status, server.body = 429, {"message": "would violate the disruption budget"}
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
    async with api(server) as kube:
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
