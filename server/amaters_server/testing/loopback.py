"""Real nodes in one process: real gRPC between them on loopback, real engines, real time."""

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from amaters_server.backups.places import Place
from amaters_server.backups.stores.destinations import uploader_for
from amaters_server.backups.stores.s3_settings import S3Credentials, S3Settings
from amaters_server.backups.stores.uploader import SnapshotUploader
from amaters_server.machine.machine import Machine
from amaters_server.model.errors import DatabaseError
from amaters_server.model.keys import data_key
from amaters_server.model.queries import Answer, Get, Put, Read, Remove, Result, Write
from amaters_server.node.backup.backups import BackupPlaces
from amaters_server.node.node import Node, NodeParts
from amaters_server.node.ports import Permit, everybody
from amaters_server.node.settings import Addresses, InitialMember, NodeSettings
from amaters_server.raft.log import LogRetention
from amaters_server.rpc.peer.certificates import Administrators
from amaters_server.rpc.peer.connections import PeerConnections
from amaters_server.rpc.peer.identities import Identities
from amaters_server.rpc.peer.listener import InternalListener
from amaters_server.rpc.peer.service import PeerService
from amaters_server.rpc.transport.budget import AnswerBudget
from amaters_server.rpc.transport.channels import Dialer
from amaters_server.rpc.transport.credentials import PeerCredentials
from amaters_server.storage.engine import Engine
from amaters_server.storage.memory import MemoryDisk, MemoryEngine
from amaters_server.testing.ports import free_ports

CALL_SECONDS = 10.0


@dataclass(slots=True)
class LoopClock:
    """The running event loop's clock, and the wall's, which a test may set wrong."""

    wrong_by_ms: int = 0

    def now(self) -> float:
        """Return the loop's seconds."""
        return asyncio.get_running_loop().time()

    def unix_ms(self) -> int:
        """Return the wall's milliseconds."""
        return int(time.time() * 1000) + self.wrong_by_ms


def free_address() -> str:
    """Return a loopback address that nothing listens on right now."""
    return f"127.0.0.1:{free_ports(1)[0]}"


@dataclass(slots=True)
class Loopback:
    """One node and what it runs on; the disk outlives its lives."""

    settings: NodeSettings
    open_engine: Callable[[], Engine]
    credentials: Callable[[], PeerCredentials | None] = lambda: None
    snapshots: BackupPlaces | None = None
    clock: LoopClock = field(default_factory=LoopClock)
    permit: Permit = everybody
    node: Node = field(init=False)
    engine: Engine = field(init=False)
    transport: PeerConnections = field(init=False)
    listener: InternalListener = field(init=False)

    async def start(self) -> "Loopback":
        """Begin a life."""
        self.engine = self.open_engine()
        jitter = random.Random(1)  # noqa: S311
        self.transport = PeerConnections(Dialer(), self.credentials, jitter)
        parts = NodeParts(
            self.engine,
            Machine(self.engine),
            self.transport,
            self.clock,
            uuid.uuid4().hex,
            AnswerBudget(),
            self.snapshots,
            self.permit,
        )
        self.node = Node(self.settings, parts)
        identities = Identities(self.credentials, Administrators(), time.time)
        service = PeerService(lambda: self.node.peers, identities, self.transport.received_from)
        self.node.on_expelled(service.expel)
        self.listener = InternalListener(
            self.settings.addresses.peer,
            self.credentials,
            (service.methods,),
            (self.transport.renew, service.recycle),
        )
        identities.serve(self.listener.connection)
        await self.listener.start()
        await self.node.start()
        return self

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """End this life in order."""
        await self.node.depart(grace_seconds)
        await self.node.close()
        await self.listener.stop(0)

    async def put(self, key: bytes, value: bytes, seconds: float = CALL_SECONDS) -> None:
        """Write one key; raises what the node answers otherwise."""
        deadline = self.deadline(seconds)
        await self._asked(
            lambda answers: self.node.write(
                [Write(1, [Put(data_key("t", key), value)], deadline)], answers
            )
        )

    async def delete(self, key: bytes, seconds: float = CALL_SECONDS) -> None:
        """Delete one key; raises what the node answers otherwise."""
        write = Write(1, [Remove(data_key("t", key))], self.deadline(seconds))
        await self._asked(lambda answers: self.node.write([write], answers))

    async def get(
        self, key: bytes, seconds: float = CALL_SECONDS, *, stale: bool = False
    ) -> Result:
        """Read one key; raises what the node answers otherwise."""
        read = Read(1, [Get(data_key("t", key))], self.deadline(seconds), stale)
        results = await self._asked(lambda answers: self.node.read([read], answers))
        return results[0]

    def deadline(self, seconds: float = CALL_SECONDS) -> float:
        """Return the moment so many seconds from now."""
        return asyncio.get_running_loop().time() + seconds

    async def _asked(
        self, ask: Callable[[Callable[[list[tuple[int, Answer]]], None]], None]
    ) -> list[Result]:
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        ask(lambda answered: done.set_result(answered[0][1]))
        answer = await done
        if isinstance(answer, DatabaseError):
            raise answer
        return answer


def founders(
    count: int,
    folder: Path,
    *,
    credentials: Callable[[], PeerCredentials | None] = lambda: None,
    retention: LogRetention | None = None,
    open_engine: Callable[[], Engine] | None = None,
) -> list[Loopback]:
    """Make nodes that will found a cluster together; each with a disk in memory by default."""
    members = tuple(InitialMember(one + 1, free_address()) for one in range(count))
    made: list[Loopback] = []
    for member in members:
        settings = NodeSettings(
            Addresses(f"node-{member.id}", member.peer_address, f"127.0.0.1:{member.id}"),
            folder / f"images-{member.id}",
            initial=members if count > 1 else (),
            retention=retention or LogRetention(),
        )
        places = BackupPlaces(
            folder / f"snapshots-{member.id}", _folder_uploader, str(folder / "remote")
        )
        disk = open_engine or memory_disk()
        made.append(Loopback(settings, disk, credentials, places))
    return made


def newcomer(number: int, others: Sequence[Loopback], folder: Path) -> Loopback:
    """Make a node with an empty disk that asks the others for admission."""
    settings = replace(
        others[0].settings,
        addresses=Addresses(f"node-{number}", free_address(), f"127.0.0.1:{number}"),
        transfer_folder=folder / f"images-{number}",
        initial=(),
        join=tuple(other.settings.addresses.peer for other in others),
    )
    return Loopback(settings, memory_disk(), others[0].credentials)


def memory_disk() -> Callable[[], Engine]:
    """Return what opens engines on one and the same disk in memory."""
    disk = MemoryDisk()
    return lambda: MemoryEngine(disk)


async def until(condition: Callable[[], bool], seconds: float = CALL_SECONDS) -> None:
    """Return once the condition holds; TimeoutError when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.01)


async def ready(nodes: Sequence[Loopback], seconds: float = CALL_SECONDS) -> None:
    """Return once all of them serve."""
    await until(lambda: all(one.node.readiness().ok for one in nodes), seconds)


def leader_of(nodes: Sequence[Loopback]) -> Loopback:
    """Return the one that leads."""
    return next(one for one in nodes if one.node.status().is_leader)


def _folder_uploader(place: Place, _: S3Credentials | None) -> SnapshotUploader:
    return uploader_for(place, S3Settings())
