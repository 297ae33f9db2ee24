"""The AmateRS client: asynchronous, over one or several servers of a cluster.

    async with await AmatersClient.connect(["a:7878", "b:7878", "c:7878"]) as client:
        await client.set("users", "ada", b"countess")
        value = await client.get("users", "ada")

Any server of a cluster serves any call. When one fails the client tries the next, within
the deadline of the call; `amaters.transport.retry_policy` has the rules of what is repeated. A write
whose answer was lost is repeated under the same request id, and so applied once, by servers that
keep write sessions; with others it raises OutcomeUnknownError (`ClientOptions.write_retries`).
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Self

from amaters.data.calls import Caller
from amaters.data.queries import Queries
from amaters.data.scanning import OnProgress, Scan
from amaters.data.sessions import Sessions
from amaters.data.transactions import Transaction
from amaters.errors import AmatersError, InvalidRequestError, UnreachableError
from amaters.keys import as_bytes, prefix_end
from amaters.predicates import Change, Where
from amaters.transport.channels import ChannelOptions
from amaters.transport.endpoints import Endpoints
from amaters.transport.login import Login
from amaters.transport.retry_policy import Repeatable
from amaters.transport.runtime import Runtime
from amaters.transport.status import ANSWER_TOO_LARGE
from amaters.transport.tls import Credentials
from amaters.values import (
    ClientOptions,
    Consistency,
    Delete,
    Entry,
    Filter,
    Get,
    Health,
    KeyLike,
    Operation,
    Range,
    Result,
    ServerInfo,
    Set,
    Update,
    WriteRetries,
)

LINEARIZABLE = Consistency.LINEARIZABLE

WRITE_SESSIONS = "write.sessions"
"""The capability of servers that apply a write once however often its request id comes."""

_DECIDED = {WriteRetries.NEVER: False, WriteRetries.SESSIONS: True, WriteRetries.IF_SAFE: None}


class AmatersClient:
    """A client of one cluster; belongs to one event loop, and may be shared by its tasks."""

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        credentials: Credentials | None = None,
        login: Login | None = None,
        options: ClientOptions | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        """`credentials` are those of TLS; `login` is who calls: a Token, TokenFile, ApiKey or such."""
        self._options = options or ClientOptions()
        self._runtime = runtime or Runtime()
        self._endpoints = Endpoints(
            addresses,
            credentials=credentials,
            options=ChannelOptions(
                connect_timeout=self._options.connect_timeout,
                keepalive_interval=self._options.keepalive_interval,
                keepalive_timeout=self._options.keepalive_timeout,
                silence=self._options.connection_silence,
                server_name=self._options.server_name,
            ),
            now=self._runtime.monotonic,
        )
        self._caller = Caller(
            self._endpoints, options=self._options, runtime=self._runtime, login=login
        )
        self._queries = Queries(
            wall=self._runtime.wall,
            forwarding=self._options.forwarding,
            login=login,
            plaintext_login=self._options.plaintext_login,
        )
        self._sessions = Sessions(self._runtime.session_id)
        self._write_sessions = _DECIDED[self._options.write_retries]

    @classmethod
    async def connect(
        cls,
        addresses: str | Sequence[str],
        *,
        credentials: Credentials | None = None,
        login: Login | None = None,
        options: ClientOptions | None = None,
        runtime: Runtime | None = None,
    ) -> Self:
        """Return a client once one of the servers ("a:7878,b:7878" or a list) is connected.

        UnreachableError names the reason for each when none is. The constructor does the same
        without connecting.
        """
        client = cls(
            addresses, credentials=credentials, login=login, options=options, runtime=runtime
        )
        try:
            await client._connect_any()
        except BaseException:
            await client.close()
            raise
        return client

    @property
    def addresses(self) -> tuple[str, ...]:
        """The servers this client knows, the one it prefers first."""
        return self._endpoints.addresses

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return sum(one.is_connected() for one in self._endpoints.all())

    @property
    def replacements(self) -> int:
        """How many connections were replaced because they did not work; the log has the reasons."""
        return sum(one.replacements for one in self._endpoints.all())

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        await self._endpoints.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(
        self,
        collection: str,
        key: KeyLike,
        *,
        consistency: Consistency = LINEARIZABLE,
        timeout: timedelta | None = None,
    ) -> bytes | None:
        """Return the value under the key, or None when there is none."""
        found = await self.entry(collection, key, consistency=consistency, timeout=timeout)
        return None if found is None else found.value

    async def entry(
        self,
        collection: str,
        key: KeyLike,
        *,
        consistency: Consistency = LINEARIZABLE,
        timeout: timedelta | None = None,
    ) -> Entry | None:
        """Return the value with what is known about it, or None when there is none."""
        found = await self._read(Get(collection, key), consistency, timeout)
        return found if isinstance(found, Entry) else None

    async def contains(
        self, collection: str, key: KeyLike, *, consistency: Consistency = LINEARIZABLE
    ) -> bool:
        """Whether there is a value under the key."""
        return await self.entry(collection, key, consistency=consistency) is not None

    async def set(
        self, collection: str, key: KeyLike, value: bytes, *, timeout: timedelta | None = None
    ) -> None:
        """Store the value; returns once a majority has it on disk."""
        await self._write(Set(collection, key, value), timeout)

    async def delete(
        self, collection: str, key: KeyLike, *, timeout: timedelta | None = None
    ) -> None:
        """Delete the key; one that does not exist is no error."""
        await self._write(Delete(collection, key), timeout)

    async def range(
        self,
        collection: str,
        start: KeyLike,
        end: KeyLike,
        *,
        limit: int | None = None,
        consistency: Consistency = LINEARIZABLE,
        timeout: timedelta | None = None,
    ) -> tuple[Entry, ...]:
        """Return the entries with keys in [start, end); more than a message holds is streamed."""
        wanted = Range(collection, start, end, limit)
        try:
            found = await self._read(wanted, consistency, timeout)
        except InvalidRequestError as error:
            if error.server_code != ANSWER_TOO_LARGE:
                raise
            found = tuple([one async for one in self.scan_range(wanted, consistency=consistency)])
        return found if isinstance(found, tuple) else ()

    def scan(
        self,
        collection: str,
        prefix: KeyLike = b"",
        *,
        limit: int | None = None,
        consistency: Consistency = LINEARIZABLE,
        on_progress: OnProgress | None = None,
    ) -> AsyncIterator[Entry]:
        """Stream the entries whose keys begin with the prefix, in order; memory stays small.

        Survives the loss of a server: another one continues after the last key, from then on
        with a later state.
        """
        first = as_bytes(prefix)
        wanted = Range(collection, first, prefix_end(first), limit)
        return self.scan_range(wanted, consistency=consistency, on_progress=on_progress)

    def scan_range(
        self,
        wanted: Range,
        *,
        consistency: Consistency = LINEARIZABLE,
        on_progress: OnProgress | None = None,
    ) -> AsyncIterator[Entry]:
        """Stream a range of keys; else like `scan`."""
        return Scan(
            wanted,
            caller=self._caller,
            open_stream=self._queries.stream(consistency),
            probe_timeout=self._options.request_timeout,
            on_progress=on_progress,
        ).entries()

    async def filter(
        self,
        collection: str,
        where: Where,
        *,
        limit: int | None = None,
        offset: int = 0,
        timeout: timedelta | None = None,
    ) -> tuple[Entry, ...]:
        r"""Return the entries whose values match, in the order of their keys.

            cheap = await client.filter("prices", Where.lt(b"\x05"), limit=20)

        All of them must fit one message: `limit` and `offset` ask for a part.
        """
        wanted = Filter(collection, where, limit, offset)
        found = await self._read(wanted, LINEARIZABLE, timeout)
        return found if isinstance(found, tuple) else ()

    async def update(
        self,
        collection: str,
        where: Where,
        changes: Change | Sequence[Change],
        *,
        timeout: timedelta | None = None,
    ) -> int:
        r"""Change every value of the collection that matches, or none; returns how many.

            sold = await client.update("stock", Where.eq(b"new"), Change.set(b"sold"))
            await client.update("counts", Where.everything(), Change.add(b"\x01"))

        The changes are made one after the other. Values of up to 64 bytes only: longer ones are
        taken for ciphertexts, and refused with InvalidRequestError. Others wait while it is
        applied, which takes seconds for a million values.
        """
        made = (changes,) if isinstance(changes, Change) else tuple(changes)
        return await self._write(Update(collection, where, made), timeout)

    async def batch(
        self, operations: Sequence[Operation], *, timeout: timedelta | None = None
    ) -> list[Result]:
        """Carry the operations out in order, all or none; reads see the writes before them.

        stored, changed, found = await client.batch(
            [
                Set("stock", "a", b"new"),
                Update("stock", Where.eq(b"new"), (Change.set(b"sold"),)),
                Filter("stock", Where.eq(b"sold")),
            ]
        )
        """
        if not operations:
            return []
        changing = any(isinstance(one, (Set, Delete, Update)) for one in operations)
        async with self._repeating(changing=changing, timeout=timeout) as (repeatable, request_id):
            attempt = self._queries.batch(operations, request_id)
            return await self._caller.call(attempt, repeatable=repeatable, timeout=timeout)

    def transaction(self, collection: str) -> Transaction:
        """Return a buffer of writes to the collection that are made together at its commit."""
        return Transaction(collection, read=self.get, write=self.batch)

    async def server_info(self) -> ServerInfo:
        """Return the preferred server's description of itself."""
        return await self._caller.call(self._queries.server_info, repeatable=Repeatable.FREELY)

    async def health_check(self) -> Health:
        """Return whether the preferred server serves."""
        return await self._caller.call(self._queries.health, repeatable=Repeatable.FREELY)

    async def _read(
        self, operation: Get | Range | Filter, consistency: Consistency, timeout: timedelta | None
    ) -> Result:
        reading = Repeatable.FREELY
        if consistency is Consistency.LINEARIZABLE or isinstance(operation, Filter):
            attempt = self._queries.one(operation)
            return await self._caller.call(attempt, repeatable=reading, timeout=timeout)
        stale = self._queries.stale(operation)
        rows = await self._caller.call(stale, repeatable=reading, timeout=timeout)
        return rows if isinstance(operation, Range) else next(iter(rows), None)

    async def _write(self, operation: Set | Delete | Update, timeout: timedelta | None) -> int:
        async with self._repeating(changing=True, timeout=timeout) as (repeatable, request_id):
            attempt = self._queries.one(operation, request_id=request_id)
            done = await self._caller.call(attempt, repeatable=repeatable, timeout=timeout)
        return done if isinstance(done, int) else 0

    @asynccontextmanager
    async def _repeating(
        self, *, changing: bool, timeout: timedelta | None
    ) -> AsyncIterator[tuple[Repeatable, str]]:
        """Return how a call may be repeated, and under which request id."""
        if not changing:
            yield Repeatable.FREELY, ""
        elif not await self._has_sessions(timeout):
            yield Repeatable.NEVER, ""
        else:
            with self._sessions.request_id() as request_id:
                yield Repeatable.BY_REQUEST_ID, request_id

    async def _has_sessions(self, timeout: timedelta | None) -> bool:
        """Whether a write may be repeated; asks the servers once, at the first write."""
        if self._write_sessions is None:
            info = await self._caller.call(
                self._queries.server_info, repeatable=Repeatable.FREELY, timeout=timeout
            )
            self._write_sessions = WRITE_SESSIONS in info.capabilities
        return self._write_sessions

    async def _connect_any(self) -> None:
        failures: list[AmatersError] = []
        for endpoint in self._endpoints.all():
            try:
                await endpoint.connect()
            except UnreachableError as error:
                failures.append(error)
                self._endpoints.failed(endpoint, error)
            else:
                self._endpoints.succeeded(endpoint)
                return
        if len(failures) == 1:
            raise failures[0]
        reasons = "; ".join(str(one) for one in failures)
        raise UnreachableError(f"none of {len(failures)} servers can be reached: {reasons}")
