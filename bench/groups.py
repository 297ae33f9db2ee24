"""What failover needs of a cluster: whom to disturb, and callers that ask any member."""

from datetime import timedelta
from typing import Protocol, Self

from amaters.data.client import AmatersClient
from amaters.errors import AmatersError
from amaters.values import ClientOptions, WriteRetries

from bench.dialects import COLLECTION
from bench.nodes import AmatersNodes, Node
from bench.processes import Program
from bench.steady import CallFailedError

TRANSFER_LIMIT = timedelta(seconds=10)


class Caller(Protocol):
    """A client of the whole cluster; raises CallFailedError once it has given up."""

    async def write(self, key: bytes, data: bytes) -> None:
        """Store the value; returns once it is acknowledged."""

    async def read(self, key: bytes) -> bytes | None:
        """Return the newest value."""

    async def __aenter__(self) -> Self:
        """Connect."""

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""


class Leader(Protocol):
    """The member that leads at the moment."""

    @property
    def program(self) -> Program:
        """Its process."""

    async def hand_over(self) -> None:
        """Move leadership to another member; returns once that is confirmed."""


class Group(Protocol):
    """A cluster of three whose leader can be disturbed."""

    @property
    def name(self) -> str:
        """How tables name it."""

    async def start(self) -> None:
        """Start every member that does not run; returns once all are well."""

    def stop(self) -> None:
        """End all members."""

    async def leader(self) -> Leader:
        """Return the member that leads."""

    def caller(self, first: int) -> Caller:
        """Return a client that asks that member first."""


class AmatersGroup:
    """Our own nodes, with our own client."""

    def __init__(self, nodes: AmatersNodes) -> None:
        self._nodes = nodes
        self.name = nodes.name
        self.start = nodes.start
        self.stop = nodes.stop

    async def leader(self) -> Leader:
        """Return the node that leads."""
        return _LeadingNode(await self._nodes.leader())

    def caller(self, first: int) -> Caller:
        """Return a client that asks that node first."""
        addresses = [node.client for node in self._nodes.nodes]
        return _AmatersCaller([*addresses[first:], *addresses[:first]])


class _LeadingNode:
    def __init__(self, node: Node) -> None:
        self._node = node
        self.program = node.program

    async def hand_over(self) -> None:
        async with self._node.admin(TRANSFER_LIMIT) as admin:
            await admin.transfer_leadership()


class _AmatersCaller:
    def __init__(self, addresses: list[str]) -> None:
        options = ClientOptions(write_retries=WriteRetries.SESSIONS)
        self._client = AmatersClient(addresses, options=options)

    async def write(self, key: bytes, data: bytes) -> None:
        try:
            await self._client.set(COLLECTION, key, data)
        except AmatersError as error:
            raise CallFailedError(str(error)) from error

    async def read(self, key: bytes) -> bytes | None:
        try:
            return await self._client.get(COLLECTION, key)
        except AmatersError as error:
            raise CallFailedError(str(error)) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
