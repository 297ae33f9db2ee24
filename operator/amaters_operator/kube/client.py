"""The Kubernetes API through the official asyncio client; no other module imports it.

Paths and bodies are built here. None of the library's hundreds of generated calls is used, which
keeps memory small and treats every kind alike.
"""

import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import (
    ConfigException,
    load_incluster_config,
    load_kube_config,
)

from amaters_operator.kube import kinds, rights, secret_reads
from amaters_operator.kube.budgets import Budgets
from amaters_operator.kube.clock import ServerClock
from amaters_operator.kube.errors import (
    ApiRejectedError,
    ApiUnreachableError,
    ConflictError,
    ForbiddenError,
    KubeError,
    LeaseLostError,
)
from amaters_operator.kube.kinds import Kind
from amaters_operator.kube.port import MANAGER
from amaters_operator.kube.rights import Right
from amaters_operator.manifests.names import Manifest

_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Asks for an object without its content."""
_LONGEST_MESSAGE = 1000
_LONGEST_PATIENCE_SECONDS = 30.0
"""However long the API server asks to wait: it is asked again after this."""

_STREAMS_LISTS = (1, 34)

CountRequest = Callable[[Right, str], None]
"""Receives each request that was answered, with the HTTP code, or "none" without an answer."""

_ERRORS: dict[int, type[KubeError]] = {
    HTTPStatus.UNAUTHORIZED: ForbiddenError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.TOO_MANY_REQUESTS: ApiUnreachableError,
}


@asynccontextmanager
async def connect(
    *,
    deadline_seconds: float = 15,
    may_write: Callable[[], bool] = lambda: True,
    count: CountRequest = lambda _right, _code: None,
) -> AsyncIterator["KubernetesApi"]:
    """Connect as the pod's service account, or by KUBECONFIG outside of Kubernetes.

    Each request ends within the deadline, and nothing is written unless `may_write` returns true at
    that moment.
    """
    configuration = Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await load_kube_config(  # type: ignore[no-untyped-call]
                client_configuration=configuration
            )
    except (ConfigException, OSError) as error:
        raise ApiUnreachableError(
            f"cannot connect to the Kubernetes API: {error}. Inside a pod the service account's token "
            "must be mounted; outside, set KUBECONFIG"
        ) from error
    async with ApiClient(configuration) as client:
        yield KubernetesApi(
            client, deadline_seconds=deadline_seconds, may_write=may_write, count=count
        )


class KubernetesApi:
    """`KubeApi` on a real API server, with the calls that the Lease needs."""

    def __init__(
        self,
        client: ApiClient,
        *,
        deadline_seconds: float,
        may_write: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
        count: CountRequest = lambda _right, _code: None,
    ) -> None:
        self._client = client
        self._may_write = may_write
        self._deadline_seconds = deadline_seconds
        self._deadline = aiohttp.ClientTimeout(total=deadline_seconds)
        self._count = count
        self._budgets = Budgets(monotonic)
        self._monotonic = monotonic
        self._clock = ServerClock(monotonic)

    def now(self) -> datetime:
        """Return the time by the API server's clock."""
        return self._clock.now()

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the object, or None when there is none."""
        status, body = await self._call("GET", kind.path(namespace, name))
        found = None
        if status != HTTPStatus.NOT_FOUND:
            found = _checked(status, body, f"read {kind.name} {namespace}/{name}")
        secret_reads.note(kind, name, found)
        return found

    async def version(self, kind: Kind, namespace: str, name: str) -> str:
        """Return the object's resource version; its content is not sent."""
        status, body = await self._call("GET", kind.path(namespace, name), accept=METADATA)
        if status == HTTPStatus.NOT_FOUND:
            return ""
        return secret_reads.version_of(_checked(status, body, f"read {kind.name} {name}"))

    async def find(
        self,
        kind: Kind,
        namespace: str,
        *,
        labels: Mapping[str, str],
        fields: Mapping[str, str] | None = None,
    ) -> list[Manifest]:
        """Return the objects that carry all these labels and have these fields."""
        query = [("labelSelector", _selector(labels)), ("fieldSelector", _selector(fields or {}))]
        query = [(name, text) for name, text in query if text]
        status, body = await self._call("GET", kind.path(namespace), query=query)
        if status == HTTPStatus.NOT_FOUND:
            return []
        items: list[Manifest] = _checked(status, body, f"list {kind.plural}")["items"]
        return items

    async def apply(
        self, manifest: Manifest, *, manager: str = MANAGER, status: bool = False
    ) -> Manifest:
        """Apply the object, or its status, as that manager."""
        kind, meta = kinds.of(manifest), manifest["metadata"]
        code, body = await self._call(
            "PATCH",
            kind.path(meta["namespace"], meta["name"], "status" if status else ""),
            query=[("fieldManager", manager), ("force", "true")],
            body=manifest,
            content_type=_APPLY,
        )
        return _checked(code, body, f"apply {kind.name} {meta['namespace']}/{meta['name']}")

    async def create(self, manifest: Manifest) -> None:
        """Create an object; ConflictError when its name exists."""
        kind = kinds.of(manifest)
        path = kind.path(manifest["metadata"]["namespace"])
        code, body = await self._call("POST", path, body=manifest)
        _checked(code, body, f"create {kind.name}")

    async def replace(self, manifest: Manifest) -> None:
        """Replace an object, unless it changed since it was read."""
        kind, meta = kinds.of(manifest), manifest["metadata"]
        path = kind.path(meta["namespace"], meta["name"])
        code, body = await self._call("PUT", path, body=manifest)
        _checked(code, body, f"replace {kind.name} {meta['namespace']}/{meta['name']}")

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, at_once: bool = False
    ) -> None:
        """Delete exactly the object with that uid; do nothing when it is gone."""
        options: Manifest = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        if at_once:
            options["gracePeriodSeconds"] = 0
        code, body = await self._call("DELETE", kind.path(namespace, name), body=options)
        if code not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            _checked(code, body, f"delete {kind.name} {namespace}/{name}")

    async def evict(self, namespace: str, name: str, *, uid: str) -> str:
        """Evict exactly the pod with that uid; return why it was refused, if it was."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        path = kinds.POD.path(namespace, name, "eviction")
        code, body = await self._call("POST", path, body=eviction)
        if code == HTTPStatus.TOO_MANY_REQUESTS and _is_refused_eviction(body):
            return _message(body) or "a disruption budget forbids it"
        if code not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            _checked(code, body, f"evict pod {namespace}/{name}")
        return ""

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server knows the kind."""
        code, body = await self._call("GET", kind.root)
        if code == HTTPStatus.NOT_FOUND:
            return False
        known = _checked(code, body, f"discover {kind.api_version}")["resources"]
        return any(resource["name"] == kind.plural for resource in known)

    async def streams_lists(self) -> bool:
        """Whether a watch may begin with the objects that exist: from Kubernetes 1.34 on."""
        try:
            code, body = await self._call("GET", "/version")
            version = _checked(code, body, "read the version of the API server")
            return _version(version) >= _STREAMS_LISTS
        except KubeError:
            return False  # Listing works everywhere.

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Manifest | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> tuple[int, Manifest]:
        """Send a request within the cluster's budget; again, while the server asks for patience."""
        headers = {"Accept": accept, "Content-Type": content_type}
        began = self._monotonic()
        while True:
            async with self._budgets.request():
                answer = await self._send(method, path, query or [], headers, body)
                content = _parsed(answer.content)
                if answer.code != HTTPStatus.TOO_MANY_REQUESTS or _is_refused_eviction(content):
                    return answer.code, content
                self._budgets.quiet_for(answer.patience_seconds)
            if self._monotonic() - began + answer.patience_seconds > self._deadline_seconds:
                return answer.code, content

    async def _send(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        headers: dict[str, str],
        body: Manifest | None,
    ) -> "_Answer":
        right = rights.of_request(method, path)
        try:
            request = await self._client.param_serialize(
                method,
                path,
                query_params=query,
                header_params=dict(headers),
                body=body,
                auth_settings=["BearerToken"],
            )
            if method != "GET" and not self._may_write():
                raise LeaseLostError(f"{method} {path} was not sent: the Lease is not held")
            asked = self._monotonic()
            answer = await self._client.call_api(*request, _request_timeout=self._deadline)
            self._clock.observe(answer.headers.get("Date"), asked=asked)
            content = await answer.read()  # type: ignore[no-untyped-call]
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._count(right, "none")
            raise ApiUnreachableError(
                f"the Kubernetes API does not answer ({type(error).__name__}: {error})"
            ) from error
        self._count(right, str(answer.status))
        return _Answer(answer.status, content, _patience(answer.headers.get("Retry-After")))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back."""

    code: int
    content: bytes | None
    patience_seconds: float
    """How long the server asks to wait, where it does."""


def _patience(header: str | None) -> float:
    # A date is none of the API server's: a proxy may send one.
    seconds = int(header) if header and header.isascii() and header.isdigit() else 1
    return float(min(max(seconds, 1), _LONGEST_PATIENCE_SECONDS))


def _is_refused_eviction(body: Manifest) -> bool:
    """Whether a disruption budget is the reason, and not the load of the API server."""
    details = body.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    listed = causes if isinstance(causes, list) else []
    return any(isinstance(one, dict) and one.get("reason") == "DisruptionBudget" for one in listed)


def _version(body: Manifest) -> tuple[int, int]:
    """Return major and minor; a minor may end in a plus sign."""
    digits = ["".join(filter(str.isdigit, str(body.get(one, "")))) for one in ("major", "minor")]
    major, minor = (int(one or 0) for one in digits)
    return major, minor


def _selector(wanted: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in wanted.items())


def _parsed(content: bytes | None) -> Manifest:
    try:
        body: Any = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {"message": (content or b"").decode(errors="replace")}
    return body if isinstance(body, dict) else {}


def _checked(code: int, body: Manifest, what: str) -> Manifest:
    """Return the body of a success; raise the error that another code means."""
    if HTTPStatus.OK <= code < HTTPStatus.MULTIPLE_CHOICES:
        return body
    kind = _ERRORS.get(code)
    if code == HTTPStatus.UNPROCESSABLE_ENTITY and "metadata.uid:" in _message(body):
        kind = ConflictError  # Another object has the name now: read again.
    if kind is None:
        server = code >= HTTPStatus.INTERNAL_SERVER_ERROR
        kind = ApiUnreachableError if server else ApiRejectedError
    raise kind(f"cannot {what}: {_message(body) or 'no reason given'} (HTTP {code})")


def _message(body: Manifest) -> str:
    """Return the message of the API server, cut to protect logs and status."""
    return str(body.get("message", ""))[:_LONGEST_MESSAGE]
