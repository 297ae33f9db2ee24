"""The Kubernetes API through the official asyncio client; no other module imports it.

Paths and bodies are built here. None of the library's hundreds of generated calls is used, which
keeps memory small and treats every kind alike.
"""

import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
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

from amaters_operator.kube import kinds
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
from amaters_operator.manifests.names import Manifest

_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"
_LONGEST_MESSAGE = 1000

_ERRORS: dict[int, type[KubeError]] = {
    HTTPStatus.UNAUTHORIZED: ForbiddenError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.TOO_MANY_REQUESTS: ApiUnreachableError,
}


@asynccontextmanager
async def connect(
    *, deadline_seconds: float = 15, may_write: Callable[[], bool] = lambda: True
) -> AsyncIterator["KubernetesApi"]:
    """Connect as the pod's service account, or by KUBECONFIG outside of Kubernetes.

    Each call ends within the deadline, and nothing is written unless `may_write` returns true at
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
        yield KubernetesApi(client, deadline_seconds=deadline_seconds, may_write=may_write)


class KubernetesApi:
    """`KubeApi` on a real API server, with the calls that the Lease needs."""

    def __init__(
        self,
        client: ApiClient,
        *,
        deadline_seconds: float,
        may_write: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._may_write = may_write
        self._deadline = aiohttp.ClientTimeout(total=deadline_seconds)
        self._monotonic = monotonic
        self._clock = ServerClock(monotonic)

    def now(self) -> datetime:
        """Return the time by the API server's clock."""
        return self._clock.now()

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return the object, or None when there is none."""
        status, body = await self._call("GET", kind.path(namespace, name))
        if status == HTTPStatus.NOT_FOUND:
            return None
        return _checked(status, body, f"read {kind.name} {namespace}/{name}")

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

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly the object with that uid; do nothing when it is gone."""
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
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
        if code == HTTPStatus.TOO_MANY_REQUESTS:
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

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Manifest | None = None,
        content_type: str = _JSON,
    ) -> tuple[int, Manifest]:
        try:
            request = await self._client.param_serialize(
                method,
                path,
                query_params=query or [],
                header_params={"Accept": _JSON, "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            if method != "GET" and not self._may_write():
                raise LeaseLostError(f"{method} {path} was not sent: the Lease is not held")
            asked = self._monotonic()
            answer = await self._client.call_api(*request, _request_timeout=self._deadline)
            self._clock.observe(answer.headers.get("Date"), asked=asked)
            content = await answer.read()  # type: ignore[no-untyped-call]
            return answer.status, _parsed(content)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ApiUnreachableError(
                f"the Kubernetes API does not answer ({type(error).__name__}: {error})"
            ) from error


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
