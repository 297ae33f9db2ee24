"""Many fake worlds behind one API server, and a way to their nodes: what `operator_load` drives.

The API server speaks HTTP. The nodes are those of the test kit, and a call to one is a pickle over
HTTP, because both ends are this benchmark.
"""

import asyncio
import dataclasses
import pickle
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp
from aiohttp import web
from amaters import errors
from amaters.admin.cluster import ClusterMembers, NodeStatus
from amaters.errors import AmatersError, RefusedError
from amaters.transport.tls import TlsMaterial
from amaters_operator.api.status import Phase
from amaters_operator.database.port import Admin, NodeAddress
from amaters_operator.testing import Driver
from amaters_operator.testing.api_server import ApiServer
from amaters_operator.testing.world import NAMESPACE

SECRET = "alerts"
_STEP_SECONDS = 1.0
_RESTING_STEPS = 15
"""A world at rest takes a step this often; the steps are so much longer."""


def namespaces(count: int) -> list[str]:
    """Return a namespace for each cluster."""
    return [f"{NAMESPACE}-{number:03}" for number in range(count)]


@dataclass(slots=True)
class Worlds:
    """One cluster in each namespace, of which each names one Secret."""

    drivers: dict[str, Driver]
    server: ApiServer = field(init=False)

    def __post_init__(self) -> None:
        kubes = {name: driver.kube for name, driver in self.drivers.items()}
        self.server = ApiServer(kubes)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[str, str]]:
        """Serve and let time pass; yields the addresses of the API server and of the nodes."""
        app = web.Application()
        app.router.add_post("/{namespace}", self._node)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        passing = asyncio.create_task(self._pass_time())
        try:
            async with self.server.serving() as address:
                yield address, f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            passing.cancel()
            await runner.cleanup()

    def create(self) -> None:
        """Create every cluster, as a person does."""
        for name, driver in self.drivers.items():
            driver.world.store.put(_secret())
            driver.world.edit(replicas=3, alerts={"webhookSecretName": SECRET})
            self.server.publish(name)

    def ready(self) -> int:
        """Return how many clusters run as they should."""
        phases = [one.world.cluster().status.phase for one in self.drivers.values()]
        return phases.count(Phase.RUNNING)

    async def _pass_time(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(_STEP_SECONDS)
            turn += 1
            for number, (name, driver) in enumerate(self.drivers.items()):
                rests = bool(driver.world.leader) and driver.world.has_quorum()
                if rests and (number + turn) % _RESTING_STEPS:
                    continue
                driver.world.step(_STEP_SECONDS * (_RESTING_STEPS if rests else 1))
                self.server.publish(name)
                await asyncio.sleep(0)

    async def _node(self, request: web.Request) -> web.Response:
        namespace = request.match_info["namespace"]
        node, method, arguments, named = pickle.loads(await request.read())
        database = self.drivers[namespace].database
        try:
            async with database.admin(node, None, timeout=timedelta(seconds=1)) as admin:
                answer = await getattr(admin, method)(*arguments, **named)
        except AmatersError as error:
            return web.Response(body=pickle.dumps((type(error).__name__, str(error))), status=409)
        return web.Response(body=pickle.dumps(_placed(answer, namespace)))


@dataclass(frozen=True, slots=True)
class RemoteDatabase:
    """`Database` for the operator's process: the nodes of all worlds."""

    session: aiohttp.ClientSession
    address: str

    def admin(
        self, node: NodeAddress, tls: TlsMaterial | None, *, timeout: timedelta
    ) -> AbstractAsyncContextManager[Admin]:
        """Return the node's admin service."""
        del tls, timeout
        return self._open(node)

    async def served_serials(
        self, node: NodeAddress, tls: TlsMaterial, *, timeout: timedelta
    ) -> tuple[str, ...] | None:
        """Return nothing: the worlds use no TLS."""
        del node, tls, timeout
        return None

    @asynccontextmanager
    async def _open(self, node: NodeAddress) -> AsyncIterator[Any]:
        yield _RemoteAdmin(self, node)


@dataclass(frozen=True, slots=True)
class _RemoteAdmin:
    database: RemoteDatabase
    node: NodeAddress

    def __getattr__(self, method: str) -> Any:
        async def call(*arguments: object, **named: object) -> object:
            namespace = self.node.host.split(".")[2]
            body = pickle.dumps((self.node, method, arguments, named))
            where = f"{self.database.address}/{namespace}"
            async with self.database.session.post(where, data=body) as answer:
                content = pickle.loads(await answer.read())
            if answer.status == 409:
                kind = getattr(errors, content[0], RefusedError)
                raise (kind if kind is errors.NoLeaderError else RefusedError)(content[1])
            return content

        return call


def _placed(answer: object, namespace: str) -> object:
    """Return an answer with the addresses of that namespace."""
    if isinstance(answer, ClusterMembers):
        members = tuple(_moved(one, namespace) for one in answer.members)
        return dataclasses.replace(answer, members=members)
    return _moved(answer, namespace) if isinstance(answer, NodeStatus) else answer


def _moved(one: Any, namespace: str) -> Any:
    peer = one.peer_address.replace(f".{NAMESPACE}.svc", f".{namespace}.svc")
    client = one.client_address.replace(f".{NAMESPACE}.svc", f".{namespace}.svc")
    return dataclasses.replace(one, peer_address=peer, client_address=client)


def _secret() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "data": {"url": "aHR0cDovL2FsZXJ0cy5leGFtcGxlLw=="},
    }
