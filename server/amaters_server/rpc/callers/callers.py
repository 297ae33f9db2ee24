"""The callers of one listener, by connection."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from amaters_server.access.gate import Gate
from amaters_server.identity.authenticator import Authenticator
from amaters_server.identity.connection import ConnectionCallers
from amaters_server.model.errors import AuthenticationError
from amaters_server.rpc.callers.caller import Caller
from amaters_server.rpc.transport.calls import Call, Metadata

FEW = 64
"""Connections that are kept without a look whether they still exist."""


class Origin(Protocol):
    """The other end of a connection."""

    @property
    def peer(self) -> str:
        """Its address, host:port or [host]:port."""
        ...

    @property
    def certificate(self) -> bytes | None:
        """The certificate it has proven to be the holder of (DER)."""
        ...


Origins = Callable[[int], Origin | None]
"""Returns the other end of a connection by its id; None: it is closed."""


class Callers:
    """Finds who makes a call. Belongs to the event loop; `listen` before the first call."""

    def __init__(self, authenticator: Authenticator, gate: Gate) -> None:
        self._authenticator = authenticator
        self._gate = gate
        self._origins: Origins = lambda _: None
        self._connections: dict[int, _Connection] = {}
        self._look_at = FEW

    def listen(self, origins: Origins) -> None:
        """Take the connections of this listener; connection ids are never used again."""
        self._origins = origins

    def __len__(self) -> int:
        return len(self._connections)

    def known(self, calls: Sequence[Call]) -> list[Caller | None]:
        """Return the caller of each call; None: `authenticate` has to find it."""
        connections, authenticator = self._connections, self._authenticator
        now, generation = authenticator.unix_seconds(), authenticator.generation
        found: list[Caller | None] = []
        for call in calls:
            connection = connections.get(call[5])
            if (
                connection is None
                or (call[4] is not connection.metadata and call[4] != connection.metadata)
                or connection.generation != generation
                or connection.until <= now
            ):
                found.append(self._known(call))
            else:
                found.append(connection.last)
        return found

    def _known(self, call: Call) -> Caller | None:
        connection = self._connections.get(call[5]) or self._begin(call[5])
        if connection is None:
            return None
        principal = connection.callers.known(call[4])
        if principal is None:
            return None
        last, generation = connection.last, connection.callers.generation
        if last is None or last.principal is not principal or last.generation != generation:
            last = Caller(principal, self._gate, connection.callers, call[4])
        connection.remember(last, call[4])
        return last

    async def authenticate(self, call: Call) -> Caller:
        """Return the caller; errors and waits are those of `Authenticator.authenticate`."""
        connection = self._connections.get(call[5]) or self._begin(call[5])
        if connection is None:
            raise AuthenticationError("Authentication failed: its connection is closed")
        principal = await connection.callers.authenticate(call[4])
        return Caller(principal, self._gate, connection.callers, call[4])

    def _begin(self, connection_id: int) -> "_Connection | None":
        origin = self._origins(connection_id)
        if origin is None:
            return None
        if len(self._connections) >= self._look_at:
            self._forget_closed()
        connection = _Connection(
            ConnectionCallers(
                self._authenticator, peer=origin.peer, certificate=origin.certificate or b""
            )
        )
        self._connections[connection_id] = connection
        return connection

    def _forget_closed(self) -> None:
        """Keep what is open; looked for so seldom that a connection is looked at a few times."""
        gone = [one for one in self._connections if self._origins(one) is None]
        for one in gone:
            del self._connections[one]
        self._look_at = max(FEW, 2 * len(self._connections))


class _Connection:
    """One connection and who called last over it."""

    __slots__ = ("callers", "generation", "last", "metadata", "until")

    def __init__(self, callers: ConnectionCallers) -> None:
        self.callers = callers
        self.last: Caller | None = None
        self.metadata: Metadata | None = None
        """Of the last call: who sends all of it again is the same caller, `until` then."""
        self.generation = -1
        self.until = math.inf

    def remember(self, caller: Caller, metadata: Metadata | None) -> None:
        """Keep who called last, and with what."""
        self.last, self.metadata, self.generation = caller, metadata, caller.generation
        expires_at = caller.principal.expires_at
        self.until = math.inf if expires_at is None else expires_at
