"""A database that is a dictionary, and the service over it, reached over a real socket."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from zlib import crc32

import grpc
import pytest
from amaters.wire import aql_pb2, query_pb2, types_pb2
from amaters.wire.aql_pb2_grpc import AqlServiceStub
from amaters_server.access.access import Access
from amaters_server.access.audit import Event
from amaters_server.access.gate import Gate
from amaters_server.access.roles import parsed
from amaters_server.app.security.logins import LoginRecord
from amaters_server.config.security.authentication import AuthSection
from amaters_server.config.security.authorization import AuthzSection
from amaters_server.identity.authenticator import Authenticator
from amaters_server.identity.methods import read_methods
from amaters_server.machine.codec import ProposalId, encode_writes
from amaters_server.machine.collection_count import CollectionCount, Holdings
from amaters_server.machine.machine import Machine
from amaters_server.model.cluster import Member, NodeId, NodeState
from amaters_server.model.errors import DatabaseError, NotAuditedError
from amaters_server.model.queries import Get, Put, ReadAge, Remove
from amaters_server.model.replication import Committed, EntryKind
from amaters_server.node.loop.reading import answered_from
from amaters_server.node.maintenance.compaction import Compaction
from amaters_server.node.maintenance.verification import Verification
from amaters_server.node.values import (
    BackupInfo,
    MembersReport,
    MemberStatus,
    NodeStatus,
    RestoreUpdate,
    Verdict,
)
from amaters_server.raft.raft_node import entry_fault
from amaters_server.rpc.aql.commands.commands import AdminCommands
from amaters_server.rpc.aql.commands.sources import Sources
from amaters_server.rpc.aql.pending import QueryLimits, UpdateLimits
from amaters_server.rpc.aql.service import AqlService
from amaters_server.rpc.callers.callers import Callers
from amaters_server.rpc.health import HealthService
from amaters_server.rpc.reflection import Reflection
from amaters_server.rpc.transport.listener import GrpcListener, ListenerSettings
from amaters_server.storage.engine import Engine, EngineStatistics
from amaters_server.storage.memory import MemoryEngine
from amaters_server.storage.rocks.engine import RocksEngine
from amaters_server.storage.rocks.tuning import RocksTuning
from amaters_server.telemetry.counters import CallCounters, Traffic
from amaters_server.testing.loopback import LoopClock
from amaters_server.testing.tokens import Signer

AQL = aql_pb2.DESCRIPTOR.services_by_name["AqlService"]


class DictView:
    def __init__(self, data: dict[bytes, bytes]) -> None:
        self.data = dict(data)
        self.closed = False

    def get(self, key: bytes) -> bytes | None:
        return self.data.get(key)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(self.data):
            assert not self.closed
            if start <= key < end:
                yield key, self.data[key]

    def close(self) -> None:
        self.closed = True


class FakeMaintenance:
    """Finds what a test says, or goes on for as long as a caller waits."""

    def __init__(self) -> None:
        self.found = Verification(1_700_000_000_000, keys=7, counted_keys=7, complete=True)
        self.verification: Verification | None = None
        self.verifying = False
        self.compaction: Compaction | None = Compaction(1, None, 3, 1, 2, 500, 200, 1.5)
        self.asked: list[str | None] = []

    async def verify(self, seconds: float) -> Verification:
        self.asked.append("VERIFY")
        if self.verifying:
            await asyncio.sleep(seconds)
        self.verification = self.found
        return self.found

    async def compact(self, collection: str | None, seconds: float) -> Compaction | None:
        self.asked.append(collection)
        return self.compaction


class FakeBackups:
    """Keeps names of backups; `failing` is raised, `lost` vanish as soon as they are made."""

    def __init__(self) -> None:
        self.failing: DatabaseError | None = None
        self.lost = False
        self.there: list[BackupInfo] = []
        self.restored: list[tuple] = []
        self.steps = [RestoreUpdate(7, 7, 70, done=True, backup="b")]
        self.waiting: asyncio.Event | None = None

    async def create(self, upload, /) -> BackupInfo:
        if self.waiting is not None:
            await self.waiting.wait()
        if self.failing is not None:
            raise self.failing
        number = len(self.there) + 1
        made = BackupInfo(
            number,
            1_700_000_000_000,
            size_bytes=9,
            original_size_bytes=90,
            key_count=7,
            uri=f"local://{upload.destination}/{number}",
        )
        if not self.lost:
            self.there.append(made)
        return made

    async def list_remote(self, access, /, *, every_cluster: bool = False) -> list[BackupInfo]:
        return [replace(one, key_count=None) for one in self.there]

    async def restore(self, uri, /, *, replace, remote=False, credentials=None, collection=""):
        if self.failing is not None:
            raise self.failing
        self.restored.append((uri, replace, collection))
        for step in self.steps:
            yield step


@dataclass
class DictDatabase:
    data: dict[bytes, bytes] = field(default_factory=dict)
    failing: DatabaseError | None = None
    holding: bool = False
    older: DatabaseError | None = None
    state: NodeState = NodeState.LEADER
    scan: object = None
    writes: list = field(default_factory=list)
    reads: list = field(default_factory=list)
    views: list[DictView] = field(default_factory=list)
    held: Holdings | None = field(
        default_factory=lambda: Holdings(
            CollectionCount(7, 50), 3, (("users", CollectionCount(4, 20)),)
        )
    )
    ready: Verdict = field(default_factory=lambda: Verdict(ok=True))
    maintenance: FakeMaintenance = field(default_factory=FakeMaintenance)
    backups: FakeBackups = field(default_factory=FakeBackups)

    def write(self, writes, answers) -> None:
        self.writes.append(list(writes))
        if not self.holding:
            answers([(one.ticket, self._answer(one.operations)) for one in writes])

    def read(self, reads, answers) -> None:
        self.reads.append(list(reads))
        if not self.holding:
            answers([(one.ticket, self._answer(one.operations)) for one in reads])

    def require_slow_writes(self) -> None:
        if self.older is not None:
            raise self.older

    async def view(self, deadline: float, *, stale: bool = False) -> DictView:
        if self.failing is not None:
            raise self.failing
        self.views.append(DictView(self.data))
        if self.scan is not None:
            self.views[-1].scan = self.scan
        return self.views[-1]

    def read_age(self) -> ReadAge:
        return ReadAge(0.25)

    def readiness(self) -> Verdict:
        return self.ready

    def status(self) -> NodeStatus:
        return NodeStatus(
            node_id=1,
            cluster_id="c",
            name="n",
            peer_address="a:1",
            client_address="a:2",
            state=self.state,
            reason="",
            term=3,
            leader_id=1,
            leader_client_address="a:2",
            commit_index=9,
            applied_index=9,
            first_log_index=1,
            last_log_index=9,
            member_count=1,
            version="0.3.0",
            started_unix_ms=int(time.time() * 1000) - 5000,
            ready=True,
            restoring=False,
        )

    async def sizes(self) -> dict[int, int]:
        return {1: 100}

    async def holdings(self) -> Holdings | None:
        return self.held

    async def members(self, caller=None) -> MembersReport:
        member = Member(NodeId(1), "n", "a:1", "a:2", disk_id="d")
        return MembersReport("c", 1, 3, 9, (MemberStatus(member, is_leader=True),))

    def _answer(self, operations):
        if self.failing is not None:
            return self.failing
        return [self._carry_out(one) for one in operations]

    def _carry_out(self, operation):
        match operation:
            case Put(key, value):
                self.data[key] = value
                return 1
            case Remove(key):
                self.data.pop(key, None)
                return 1
            case Get(key):
                return self.data.get(key)
            case scan:
                rows = list(DictView(self.data).scan(scan.start, scan.end))
                return rows[: scan.limit]


class MachineDatabase(DictDatabase):
    """The real state machine on an engine, without a log: every write is applied at once."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine, self.machine = engine, Machine(engine)

    def write(self, writes, answers) -> None:
        for write in writes:
            index = self.machine.applied_index + 1
            data = encode_writes(ProposalId(1, 1, index), [write], unix_ms=0)
            assert entry_fault(0, data, b"") is None
            entry = Committed(index, 1, EntryKind.NORMAL, data)
            while not (applied := self.machine.apply([entry])).count:
                pass
            self.engine.write(applied.changes, sync=False)
            self.machine.written(applied.version)
            answers([(write.ticket, applied.outcomes[0].results[0])])

    def read(self, reads, answers) -> None:
        for read in reads:
            answer = answered_from(self.machine.view(), read, 1 << 22)
            answers([(read.ticket, answer)])

    async def view(self, deadline: float, *, stale: bool = False):
        return self.machine.view()


@dataclass
class Served:
    database: DictDatabase
    counters: CallCounters
    service: AqlService
    port: int
    stub: AqlServiceStub


@dataclass
class Guarded:
    """A listener that asks who calls; tokens are signed with one shared secret."""

    served: Served
    access: Access
    authenticator: Authenticator
    callers: Callers
    audit: "Recorded"
    signer: Signer

    def headers(self, *roles: str, expires: float = 3600, name: str = "ann") -> tuple:
        claims = {"sub": name, "exp": int(time.time() + expires), "roles": roles}
        return (("authorization", f"Bearer {self.signer.token(claims)}"),)


class Recorded:
    """Takes the place of an audit log."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failing = False

    def repeat(self, _key: object) -> bool:
        if self.failing:
            raise NotAuditedError("the disk is full")
        return False

    def record(self, event: Event, _key: object = None) -> None:
        self.repeat(None)
        self.events.append(event)


def blob(data: bytes, **metadata) -> types_pb2.CipherBlob:
    facts = {"size": len(data), "checksum": crc32(data), "created_at": 1_700_000_000, **metadata}
    return types_pb2.CipherBlob(data=data, metadata=types_pb2.CipherMetadata(**facts))


class Ask:
    """Builds the messages that tests send."""

    blob = staticmethod(blob)

    @staticmethod
    def key(data: bytes) -> types_pb2.Key:
        return types_pb2.Key(data=data)

    def set(self, key: bytes, value: bytes, collection="c") -> query_pb2.Query:
        query = query_pb2.SetQuery(collection=collection, key=self.key(key), value=blob(value))
        return query_pb2.Query(set=query)

    def get(self, key: bytes, collection="c") -> query_pb2.Query:
        return query_pb2.Query(get=query_pb2.GetQuery(collection=collection, key=self.key(key)))

    def delete(self, key: bytes, collection="c") -> query_pb2.Query:
        query = query_pb2.DeleteQuery(collection=collection, key=self.key(key))
        return query_pb2.Query(delete=query)

    def range(self, start: bytes, end: bytes, collection="c", limit=None) -> query_pb2.Query:
        query = query_pb2.RangeQuery(
            collection=collection, start=self.key(start), end=self.key(end), limit=limit
        )
        return query_pb2.Query(range=query)

    def request(self, query, **fields) -> aql_pb2.QueryRequest:
        return aql_pb2.QueryRequest(query=query, **fields)

    def batch(self, *queries, **fields) -> aql_pb2.BatchRequest:
        return aql_pb2.BatchRequest(queries=queries, **fields)


@pytest.fixture
def ask() -> Ask:
    return Ask()


@asynccontextmanager
async def serving(
    limits: QueryLimits | None = None,
    callers: Callers | None = None,
    database: DictDatabase | None = None,
) -> AsyncIterator[Served]:
    limits = limits or QueryLimits()
    database, counters = database or DictDatabase(), CallCounters()
    now = asyncio.get_running_loop().time
    sources = Sources(
        status=database.status,
        members=database.members,
        sizes=database.sizes,
        statistics=lambda: EngineStatistics(table_bytes=100, memtable_bytes=11),
        holdings=database.holdings,
        traffic=Traffic,
        counters=counters,
        storage_type="memory",
        maintenance=database.maintenance,
        backups=database.backups,
    )
    service = AqlService(
        database, AdminCommands(sources, now), counters, limits=limits, now=now, callers=callers
    )
    settings = ListenerSettings("127.0.0.1:0", max_message_bytes=limits.message_bytes)
    reflection = Reflection([AQL]).methods()
    health = HealthService(lambda: True).methods([AQL.full_name])
    listener = GrpcListener(settings, service.methods | health | service.gated(reflection))
    service.listen(listener.connection)
    await listener.start()
    channel = grpc.aio.insecure_channel(
        f"127.0.0.1:{listener.port}",
        options=[("grpc.max_receive_message_length", -1), ("grpc.http2.bdp_probe", 0)],
    )
    try:
        yield Served(database, counters, service, listener.port, AqlServiceStub(channel))
    finally:
        await channel.close()
        await service.close()
        await listener.stop(0)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as running:
        yield running


ROLES = {
    "roles": [
        {"name": "admin", "permissions": [{"resource": "*", "actions": ["admin"]}]},
        {"name": "user", "permissions": [{"resource": "collection:*", "actions": ["write"]}]},
        {"name": "reader", "permissions": [{"resource": "collection:*", "actions": ["read"]}]},
        {
            "name": "clerk",
            "permissions": [
                {"resource": "collection:orders", "actions": ["write"], "key_prefixes": ["eu/"]},
                {"resource": "collection:prices", "actions": ["read"]},
            ],
        },
        {"name": "watcher", "permissions": [{"resource": "server", "actions": ["read"]}]},
    ]
}


@asynccontextmanager
async def guarding(
    *,
    limits: QueryLimits | None = None,
    record: str = "all",
    jwt: Mapping[str, object] = {},
    auth: Mapping[str, object] = {},
    roles: Mapping[str, object] = ROLES,
    database: DictDatabase | None = None,
    **authz: object,
) -> AsyncIterator[Guarded]:
    signer = Signer("HS256", b"a secret of thirty-two bytes, so.")
    section = AuthSection.model_validate(
        {
            "enabled": True,
            "methods": ["jwt"],
            "jwt": {"enabled": True, **(jwt or {"secret": signer.key.decode()})},
            "failures_per_minute": 100_000,
            "reject_unauthenticated": "anonymous_role" not in authz,
            **auth,
        }
    )
    clock, audit = LoopClock(), Recorded()
    settings = AuthzSection.model_validate({"default_role": "clerk", **authz})
    access = Access(settings, parsed(roles))
    authenticator = Authenticator(read_methods(section, clock), clock)
    authenticator.recorder = LoginRecord(access, audit)
    callers = Callers(authenticator, Gate(access, audit, record))
    async with serving(limits, callers, database) as served:
        yield Guarded(served, access, authenticator, callers, audit, signer)


@pytest.fixture
async def guarded() -> AsyncIterator[Guarded]:
    async with guarding() as running:
        yield running


@pytest.fixture
def guarding_with():
    """Ask callers with settings of the test's own."""
    return guarding


@pytest.fixture
def serving_with():
    """Serve with limits of the test's own."""
    return lambda **limits: serving(replace(QueryLimits(), **limits))


@pytest.fixture
async def dict_service():
    """The service over an empty dictionary, without a listener."""
    now = asyncio.get_running_loop().time
    service = AqlService(
        DictDatabase(), AdminCommands(None, now), CallCounters(), limits=QueryLimits(), now=now
    )
    yield service
    await service.close()


@pytest.fixture(params=["memory", "rocks"])
async def stored(request, tmp_path) -> AsyncIterator[Served]:
    """The service over the real state machine, on both engines."""
    small = RocksTuning(block_cache_bytes=1 << 20, memtable_bytes=1 << 20, open_files=64)
    in_memory = request.param == "memory"
    engine = MemoryEngine() if in_memory else RocksEngine(tmp_path / "db", small)
    limits = QueryLimits(updates=UpdateLimits(rows=1000))
    async with serving(limits, database=MachineDatabase(engine)) as running:
        yield running
    engine.close()


@pytest.fixture
def database():
    """An empty database in a dictionary."""
    return DictDatabase()
