"""A Kubernetes API server over fake worlds, on a real port: for the real client and the real kopf.

Each namespace belongs to one world. Objects, rights and evictions are those of `FakeKube`; here are
HTTP, discovery, watches, the Lease, and the storms in which a test puts them.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web

from amaters_operator.kube import kinds, rights
from amaters_operator.kube.errors import (
    ApiRejectedError,
    ApiUnreachableError,
    ConflictError,
    ForbiddenError,
    KubeError,
)
from amaters_operator.kube.kinds import Kind
from amaters_operator.kube.rights import Right
from amaters_operator.manifests.names import Manifest
from amaters_operator.testing import api_watches
from amaters_operator.testing.api_watches import History
from amaters_operator.testing.kube import FakeKube
from amaters_operator.testing.objects import ObjectStore
from amaters_operator.testing.world import NAMESPACE

Storm = Callable[[Right], web.Response | None]
"""What a request for that right gets instead of its answer; None: its answer."""

_CODES: dict[type[KubeError], int] = {
    ForbiddenError: HTTPStatus.FORBIDDEN,
    ConflictError: HTTPStatus.CONFLICT,
    ApiRejectedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ApiUnreachableError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
_SERVED = (
    *kinds.ALL,
    Kind("", "v1", "Namespace", "namespaces"),
    Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"),
)
"""kopf waits until it has found the last two, and then leaves them alone."""
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


@dataclass(slots=True)
class ApiServer:
    """The server: `kubes` are the worlds by namespace, `storm` is the weather."""

    kubes: Mapping[str, FakeKube]
    storm: Storm = lambda _: None
    bookmark_seconds: float = 60.0
    minor_version: str = "34"
    history: History = field(default_factory=History)
    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """By verb, resource and code."""
    leases: ObjectStore = field(default_factory=ObjectStore)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve while the context is open; yields the address."""
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            self.publish()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            self.history.cut += 1
            await runner.cleanup()

    def publish(self, *namespaces: str) -> None:
        """Let watches see what the worlds of these namespaces, or all, have changed."""
        for namespace in namespaces or tuple(self.kubes):
            self.history.publish(namespace, self.kubes[namespace].store)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        watches = request.query.get("watch") == "true"
        right = rights.of_request(request.method, request.path, watch=watches)
        answer: web.StreamResponse | None = self.storm(right)
        if answer is None:
            try:
                answer = await self._answer(request, right)
            except KubeError as error:
                answer = self._status(_CODES.get(type(error), 500), str(error))
        self.requests[right.verb, right.qualified, answer.status] += 1
        return answer

    async def _answer(self, request: web.Request, right: Right) -> web.StreamResponse:
        if right.resource == rights.DISCOVERY:
            return self._json(self._discovery(request.path))
        place = _place(request.path, right)
        if place is None:
            return self._status(HTTPStatus.NOT_FOUND, "no such kind")
        kind, namespace, name = place
        if kind == kinds.LEASE:
            return await self._lease(request, namespace, name)
        if right.verb in rights.WATCH:
            answer = self._watch if right.verb == "watch" else self._list
            return await answer(request, kind, namespace)
        if namespace not in self.kubes:
            return self._status(HTTPStatus.NOT_FOUND, f"no namespace {namespace}")
        body = await request.json() if request.can_read_body else {}
        return await self._object(request, right, place, body)

    async def _object(
        self, request: web.Request, right: Right, place: tuple[Kind, str, str], body: Manifest
    ) -> web.Response:
        kind, namespace, name = place
        kube = self.kubes[namespace]
        code = HTTPStatus.OK
        if right.resource.endswith("/eviction"):
            uid = body["deleteOptions"]["preconditions"]["uid"]
            if why := await kube.evict(NAMESPACE, name, uid=uid):
                causes = [{"reason": "DisruptionBudget", "message": why}]
                return self._status(HTTPStatus.TOO_MANY_REQUESTS, why, causes=causes)
            made: Manifest = {"kind": "Status", "status": "Success"}
        elif right.verb == "delete":
            await kube.delete(kind, NAMESPACE, name, uid=body["preconditions"]["uid"])
            made = {"kind": "Status", "status": "Success"}
        else:
            inner = (kind, NAMESPACE, name)
            if right.verb == "patch":
                code = HTTPStatus.OK if inner in kube.store.entries else HTTPStatus.CREATED
                body["metadata"]["namespace"] = NAMESPACE
                manager = request.query["fieldManager"]
                await kube.apply(body, manager=manager, status=right.resource.endswith("/status"))
                self.publish(namespace)
            elif await kube.get(kind, NAMESPACE, name) is None:
                return self._status(HTTPStatus.NOT_FOUND, f"{kind.plural} {name} not found")
            made = self.history.whole(namespace, inner, kube.store.entries[inner])
        self.publish(namespace)
        return self._json(_shown(request)(made), code)

    def _found(self, kind: Kind, namespace: str, request: web.Request) -> list[Manifest]:
        """Return the objects of a kind, in one namespace or in all, that the query selects."""
        selects = _selector(request)
        asked = [namespace] if namespace else list(self.kubes)
        return [
            whole
            for one in asked
            if one in self.kubes
            for place, entry in list(self.kubes[one].store.entries.items())
            if place[0] == kind
            and selects(whole := self.history.whole(one, place, entry))
            and _has_fields(whole, request.query.get("fieldSelector", ""))
        ]

    async def _list(self, request: web.Request, kind: Kind, namespace: str) -> web.StreamResponse:
        shown = _shown(request)
        items = [shown(one) for one in self._found(kind, namespace, request)]
        meta = {"resourceVersion": str(self.history.version)}
        return self._json({"kind": f"{kind.name}List", "metadata": meta, "items": items})

    async def _watch(self, request: web.Request, kind: Kind, namespace: str) -> web.StreamResponse:
        shown, selects = _shown(request), _selector(request)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        since = int(request.query.get("resourceVersion") or self.history.version)
        if request.query.get("sendInitialEvents") == "true":
            bodies = [shown(one) for one in self._found(kind, namespace, request)]
            for line in api_watches.initial(bodies, since):
                await response.write(line)

        def wanted(event: api_watches.Event) -> bool:
            here = namespace in ("", event.namespace)
            return event.kind == kind and here and selects(event.body)

        stream = self.history.stream(since, wanted, shown, bookmark_seconds=self.bookmark_seconds)
        with suppress(ConnectionResetError):  # The client has gone.
            async for line in stream:
                await response.write(line)
        return response

    async def _lease(self, request: web.Request, namespace: str, name: str) -> web.Response:
        place = (kinds.LEASE, namespace, name)
        entry = self.leases.entries.get(place)
        if request.method == "GET":
            if entry is None:
                return self._status(HTTPStatus.NOT_FOUND, "no such Lease")
            return self._json(entry.whole())
        body = await request.json()
        version = body["metadata"].get("resourceVersion")
        if (entry is not None) != (request.method == "PUT") or (
            entry is not None and str(entry.version) != version
        ):
            return self._status(HTTPStatus.CONFLICT, "the Lease has changed")
        return self._json(self.leases.put(body).whole())

    def _discovery(self, path: str) -> Manifest:
        if path == "/version":
            return {"major": "1", "minor": self.minor_version}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = {kind.group: kind.version for kind in _SERVED if kind.group}
            return {"kind": "APIGroupList", "groups": [_group(*one) for one in groups.items()]}
        served = [kind for kind in _SERVED if kind.root == path and kind != kinds.MONITOR]
        resources = [
            {
                "name": kind.plural,
                "singularName": kind.name.lower(),
                "kind": kind.name,
                "namespaced": kind in kinds.ALL,
                "verbs": _VERBS,
            }
            for kind in served
        ]
        return {"kind": "APIResourceList", "groupVersion": path, "resources": resources}

    def _json(self, body: Manifest, code: int = HTTPStatus.OK) -> web.Response:
        now = next(iter(self.kubes.values())).now()
        dates = {"Date": format_datetime(now.replace(microsecond=0), usegmt=True)}
        return web.Response(
            text=json.dumps(body), status=code, content_type="application/json", headers=dates
        )

    def _status(self, code: int, message: str, **details: object) -> web.Response:
        body = {"kind": "Status", "code": code, "message": message, "details": details}
        return self._json(body, code)


def _group(name: str, version: str) -> Manifest:
    made = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [made], "preferredVersion": made}


def _place(path: str, right: Right) -> tuple[Kind, str, str] | None:
    """Return kind, namespace and name that a path means; empty where it has none."""
    plural = right.resource.partition("/")[0]
    found = [one for one in kinds.ALL if (one.group, one.plural) == (right.group, plural)]
    parts = path.removeprefix(found[0].root if found else "").strip("/").split("/")
    namespace = parts[1] if parts[0] == "namespaces" else ""
    rest = parts[2:] if namespace else parts
    return (found[0], namespace, rest[1] if len(rest) > 1 else "") if found else None


def _shown(request: web.Request) -> Callable[[Manifest], Manifest]:
    """Return what makes of an object the form that the client accepts."""
    if "as=PartialObjectMetadata" not in request.headers.get("Accept", ""):
        return lambda body: body
    bare = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    return lambda body: bare | {"metadata": body.get("metadata", {})}


def _selector(request: web.Request) -> Callable[[Manifest], bool]:
    asked = [one for one in request.query.get("labelSelector", "").split(",") if one]

    def selects(body: Manifest) -> bool:
        labels = body["metadata"].get("labels") or {}
        pairs = (one.partition("=") for one in asked)
        return all(key in labels and labels[key] == (value if eq else labels[key])
                   for key, eq, value in pairs)  # fmt: skip

    return selects


def _has_fields(body: Manifest, selector: str) -> bool:
    for one in selector.split(",") if selector else []:
        path, _, value = one.partition("=")
        found: Any = body
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        if found != value:
            return False
    return True
