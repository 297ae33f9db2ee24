"""The watches, by kopf: every event wakes a worker, and nothing else happens here.

Only `on.event` is used, so kopf writes nothing: no finalizers, no annotations with copies of
objects, and no handler state. The level-based controllers need none. Secrets are not watched: the
few that a spec names are read by name.

kopf has a thread and an event loop of its own: when it stops it waits for, and then cancels,
everything on its loop, and it would take the signals of the process.
"""

import asyncio
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import kopf

from amaters_operator.app.waker import Waker
from amaters_operator.app.watch_health import WatchHealth
from amaters_operator.app.watch_session import open_session
from amaters_operator.kube import kinds, rights
from amaters_operator.kube.client import CountRequest
from amaters_operator.kube.kinds import Kind
from amaters_operator.manifests.names import CLUSTER_LABEL

_log = logging.getLogger(__name__)

_INSTANCE_LABEL = "app.kubernetes.io/instance"
_OURS = CLUSTER_LABEL
_CLAIMS = "app.kubernetes.io/name=amaters,app.kubernetes.io/component=server"
"""A StatefulSet gives claims no labels but those that select its pods."""

WATCHED: Final[dict[Kind, str]] = {
    kinds.CLUSTER: "",
    kinds.ACCESS: "",
    kinds.POD: _OURS,
    kinds.STATEFUL_SET: _OURS,
    kinds.CLAIM: _CLAIMS,
    kinds.SERVICE: _OURS,
    kinds.CONFIG_MAP: _OURS,
    kinds.BUDGET: "",
    kinds.NETWORK_POLICY: _OURS,
}
"""What is watched, each with its label selector. Budgets of others may cover our pods."""

_INACTIVITY_SECONDS = 70.0
"""Bookmarks come each minute."""
_AGAIN_SECONDS = 1.0
_CLOSING_SECONDS = 0.25
"""Connections with TLS are closed by their loop, which is kopf's."""
_CONNECTION_SECONDS = 1800
"""A watch is opened again after this, however well it is."""


@dataclass(frozen=True, slots=True)
class Watching:
    """How to watch."""

    health: WatchHealth
    count: CountRequest = lambda _right, _code: None
    streams_lists: bool = False
    """Whether the API server streams the objects that exist instead of listing them."""


class Retries:
    """kopf's pauses before it tries again: endless, so that no storm ends the process."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.5, 1, 2, 3), itertools.repeat(5.0))


async def watch(
    waker: Waker, namespaces: Sequence[str], stop: threading.Event, how: Watching
) -> None:
    """Watch these namespaces, or all when none is named, until `stop` is set.

    kopf ends at answers that pass, such as a resource version that is too old or an error within a
    stream: it is started again. WatchEndedError once a watch is dead for too long.
    """
    how.health.expect(_paths(namespaces))
    guard = asyncio.create_task(how.health.until_stalled(), name="watch health")
    kopfs = asyncio.create_task(_run_kopfs(waker, namespaces, stop, how), name="kopf")
    try:
        await asyncio.wait({guard, kopfs}, return_when=asyncio.FIRST_COMPLETED)
        for task in (guard, kopfs):
            if task.done():
                task.result()
    finally:
        stop.set()
        guard.cancel()
        kopfs.cancel()
        how.health.forget()


async def _run_kopfs(
    waker: Waker, namespaces: Sequence[str], stop: threading.Event, how: Watching
) -> None:
    """Run one kopf after another until `stop` is set."""
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        ended: asyncio.Future[str] = loop.create_future()
        one = _Kopf(registry(waker, how), namespaces, _reporting(loop, ended))
        threading.Thread(target=one.run, name="kopf", daemon=True).start()
        try:
            why = await ended
        finally:
            one.stop()
        if not stop.is_set():
            _log.warning("watch.again", extra={"error": why})
            await asyncio.sleep(_AGAIN_SECONDS)


def _reporting(
    loop: asyncio.AbstractEventLoop, ended: asyncio.Future[str]
) -> Callable[[str], None]:
    """Return what reports, from another thread, why a kopf has ended."""

    def settle(why: str) -> None:
        if not ended.done():
            ended.set_result(why)

    def report(why: str) -> None:
        with suppress(RuntimeError):  # The loop is closed: nobody waits.
            loop.call_soon_threadsafe(settle, why)

    return report


class _Kopf:
    """One kopf, on a thread and a loop of its own.

    It is stopped by an Event of that loop. For one of threading kopf blocks a thread until it is
    set, and a kopf that has failed waits for its threads: it would never return. Nobody waits for
    the thread either: how kopf clears up does not hold up the next one, or the end of the process.
    """

    def __init__(
        self,
        handlers: kopf.OperatorRegistry,
        namespaces: Sequence[str],
        report: Callable[[str], None],
    ) -> None:
        self._handlers = handlers
        self._namespaces = namespaces
        self._report = report
        self._lock = threading.Lock()
        self._is_stopped = False
        self._flag: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def run(self) -> None:
        """Run until it is stopped or fails, and report that."""
        try:
            asyncio.run(self._operate())
        except Exception as error:  # noqa: BLE001 - a thread of its own has no other way
            self._report(f"{type(error).__name__}: {error}")

    def stop(self) -> None:
        """Let it end soon. Thread-safe."""
        with self._lock:
            self._is_stopped = True
            if self._flag is not None:
                loop, flag = self._flag
                loop.call_soon_threadsafe(flag.set)

    async def _operate(self) -> None:
        flag = asyncio.Event()
        with self._lock:
            if self._is_stopped:
                return
            self._flag = (asyncio.get_running_loop(), flag)
        try:
            await kopf.operator(
                registry=self._handlers,
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=list(self._namespaces),
                stop_flag=flag,
            )
            self._report("it has returned")
        except Exception as error:  # noqa: BLE001 - kopf has no root of what ends it
            self._report(f"{type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._flag = None
            await asyncio.sleep(_CLOSING_SECONDS)


def _paths(namespaces: Sequence[str]) -> list[tuple[str, str]]:
    """Return the paths of the watches, each with its resource."""
    pairs = itertools.product(WATCHED, namespaces or [""])
    return [
        (path, rights.of_request("GET", path).qualified)
        for kind, namespace in pairs
        for path in [kind.path(namespace) if namespace else f"{kind.root}/{kind.plural}"]
    ]


def registry(waker: Waker, how: Watching) -> kopf.OperatorRegistry:
    """Return kopf handlers that call the waker."""
    made = kopf.OperatorRegistry()
    _register_connection(made, how)

    async def cluster(namespace: str | None, name: str, **facts: Any) -> None:  # noqa: ANN401
        gone = facts.get("type") == "DELETED"
        waker.cluster(namespace or "", name, {} if gone else facts.get("body") or {})

    async def access(namespace: str | None, name: str, **facts: Any) -> None:  # noqa: ANN401
        gone, body = facts.get("type") == "DELETED", facts.get("body") or {}
        cluster = (body.get("spec") or {}).get("clusterName")
        if cluster:
            waker.access(namespace or "", name, cluster, {} if gone else body)

    async def owned(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:  # noqa: ANN401
        name = labels.get(CLUSTER_LABEL) or labels.get(_INSTANCE_LABEL)
        if name:
            waker.owned(namespace or "", name)

    async def budget(namespace: str | None, name: str, **facts: Any) -> None:  # noqa: ANN401
        gone = facts.get("type") == "DELETED"
        waker.budget(namespace or "", name, {} if gone else facts.get("body") or {})

    handlers = {kinds.CLUSTER: cluster, kinds.ACCESS: access, kinds.BUDGET: budget}
    for kind in WATCHED:
        on = kopf.on.event(kind.group, kind.version, kind.plural, id=kind.plural, registry=made)
        on(handlers.get(kind, owned))
    return made


def _register_connection(made: kopf.OperatorRegistry, how: Watching) -> None:
    @kopf.on.login(registry=made)
    async def login(**facts: Any) -> kopf.AiohttpSession | None:  # noqa: ANN401
        # Without this kopf loads the synchronous client only to read its settings.
        info = None
        if "KUBECONFIG" not in os.environ:
            info = kopf.login_with_service_account(**facts)
        info = info or kopf.login_with_kubeconfig(**facts)
        return None if info is None else open_session(info, how.health, how.count)

    @kopf.on.startup(registry=made)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:  # noqa: ANN401
        settings.posting.enabled = False
        settings.scanning.disabled = True
        watching = settings.watching
        watching.server_timeout = _CONNECTION_SECONDS
        watching.client_timeout = _CONNECTION_SECONDS + _INACTIVITY_SECONDS
        watching.connect_timeout = 10
        watching.inactivity_timeout = _INACTIVITY_SECONDS
        watching.initial_streaming = how.streams_lists
        for kind, selector in WATCHED.items():
            if selector:
                watching.label_selectors[kind.group, kind.version, kind.plural] = selector
        settings.networking.request_timeout = 30
        settings.networking.error_backoffs = Retries()
