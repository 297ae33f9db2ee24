"""The callers of one listener, by connection."""

from collections.abc import Callable
from typing import Protocol

from amaters_server.access.gate import Gate
from amaters_server.identity.authenticator import Authenticator
from amaters_server.identity.connection import ConnectionCallers
from amaters_server.model.errors import AuthenticationError
from amaters_server.rpc.callers.caller import Caller
from amaters_server.rpc.transport.calls import Call

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

    def known(self, call: Call) -> Caller | None:
        """Return the caller if it was verified before; None: `authenticate` has to."""
        connection = self._connections.get(call[5]) or self._begin(call[5])
        principal = connection.callers.known(call[4])
        if principal is None:
            return None
        caller = connection.last
        if (
            caller is None
            or caller.principal is not principal
            or caller.generation != connection.callers.generation
        ):
            caller = Caller(principal, self._gate, connection.callers, call[4])
            connection.last = caller
        return caller

    async def authenticate(self, call: Call) -> Caller:
        """Return the caller; errors and waits are those of `Authenticator.authenticate`."""
        connection = self._connections.get(call[5]) or self._begin(call[5])
        principal = await connection.callers.authenticate(call[4])
        return Caller(principal, self._gate, connection.callers, call[4])

    def _begin(self, connection_id: int) -> "_Connection":
        origin = self._origins(connection_id)
        if origin is None:
            raise AuthenticationError("Authentication failed: its connection is closed")
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

    __slots__ = ("callers", "last")

    def __init__(self, callers: ConnectionCallers) -> None:
        self.callers = callers
        self.last: Caller | None = None
