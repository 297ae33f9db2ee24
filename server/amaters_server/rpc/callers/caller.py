"""A verified caller of one connection, and what it may do."""

from collections.abc import Sequence

from amaters_server.access.decision import PERMITTED, Asked, permitted
from amaters_server.access.gate import UNRECORDED, Gate
from amaters_server.identity.connection import ConnectionCallers
from amaters_server.model.principal import ForwardedFor, Principal
from amaters_server.rpc.transport.calls import Metadata


class Caller:
    """Lets its operations pass, or raises PermissionDeniedError or NotAuditedError."""

    __slots__ = (
        "_connection",
        "_gate",
        "_grants",
        "_metadata",
        "_recorded",
        "_version",
        "generation",
        "principal",
        "source_ip",
    )

    def __init__(
        self,
        principal: Principal,
        gate: Gate,
        connection: ConnectionCallers,
        metadata: Metadata | None,
    ) -> None:
        """`metadata` holds what the principal was verified by."""
        self.principal = principal
        self.source_ip = connection.address
        self.generation = connection.generation
        """Of the authenticator, when the principal was found."""
        self._gate = gate
        self._version = -1
        self._recorded = UNRECORDED
        self._connection = connection
        self._metadata = metadata

    def ask(self, asked: Asked) -> None:
        """Pass one operation, which is carried out next."""
        gate = self._gate
        if self._version != gate.access.version:
            self._grants, self._version = gate.access.grants(self.principal), gate.access.version
        if permitted(self._grants, asked) is PERMITTED:
            kind = type(asked)
            if kind in gate.unrecorded:
                return
            # Mostly the same as before: a count in the audit log.
            same, head, key = self._recorded
            subject = asked[0]
            if (
                kind is same
                and isinstance(subject, bytes)
                and subject.startswith(head)
                and gate.repeated(key)
            ):
                return
        self._recorded = gate.ask(self.principal, asked, self.source_ip)

    def ask_all(self, asked: Sequence[Asked]) -> None:
        """Pass operations that are carried out together; all, or none of them."""
        self._gate.ask_all(self.principal, asked, self.source_ip)

    def require(self, asked: Asked) -> None:
        """Pass an operation again that waited since it was passed: the roles may have changed."""
        self._gate.require(self.principal, asked, self.source_ip)

    @property
    def forwarded_for(self) -> ForwardedFor:
        """On whose behalf a call is passed on."""
        return ForwardedFor(self.principal, self.source_ip)

    async def current(self) -> "Caller":
        """Return the caller while its credential counts; AuthenticationError once it does not.

        After a change of the methods the credential is verified again, with the roles it has then.
        """
        if self._connection.current(self.principal, self.generation):
            return self
        principal = await self._connection.authenticate(self._metadata)
        return Caller(principal, self._gate, self._connection, self._metadata)
