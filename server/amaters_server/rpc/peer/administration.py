"""Who may call the admin service: administrators, with a record of what they did."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaters_server.access.access import Access
from amaters_server.access.audit import Audit
from amaters_server.access.decision import Method, permitted
from amaters_server.access.gate import Gate, Record
from amaters_server.access.roles import BUILT_IN
from amaters_server.model.errors import AuthenticationError, DatabaseError, PermissionDeniedError
from amaters_server.rpc.peer.certificates import ADMIN, MEMBER
from amaters_server.rpc.peer.identities import GONE, Identities, Refusal
from amaters_server.rpc.transport import status
from amaters_server.rpc.transport.calls import (
    Call,
    Metadata,
    Responder,
    Send,
    Service,
    Streaming,
    Unary,
)

_log = logging.getLogger(__name__)

NEXT = (
    "this certificate is no administrator's: show one that cluster.admin_principals names, or, "
    "while it names none, this node's own"
)
LOOKS = frozenset({"Status", "Members", "Health", "ListShards", "ListSnapshots"})
"""Methods that only report; the operator calls them every few seconds."""

Require = Callable[[str, int], None]
"""Takes a method's name and the connection; DatabaseError refuses the call."""


@dataclass(frozen=True, slots=True)
class InternalAccess:
    """The access settings of the internal port: roles files and `[authz]` do not apply to it."""

    enabled: bool = True
    default_role: str = MEMBER
    anonymous_role: str | None = ADMIN
    """Without client certificates all callers are equal; the start warns of that."""
    default_mode: str = "deny-by-default"


ROLES = {ADMIN: BUILT_IN["admin"], MEMBER: ()}


class Administration:
    """Asks for permission before each method."""

    def __init__(self, identities: Identities, audit: Audit | None, record: Record) -> None:
        """`record` as `audit.record`: methods that only report are recorded with `all`.

        Without an audit log they are lines of the server's log.
        """
        self._identities = identities
        self._access = Access(InternalAccess(), ROLES)
        self._gate = Gate(self._access, audit, record)
        self._audited = audit is not None
        self._unrecorded = frozenset() if record == "all" else LOOKS

    def require(self, method: str, connection: int) -> None:
        """Raise PermissionDeniedError unless the caller is an administrator."""
        host = self._identities.host(connection)
        if not host:
            raise AuthenticationError(GONE)
        principal, asked = self._identities.principal(connection), Method(method)
        if method in self._unrecorded and permitted(self._access.grants(principal), asked):
            return
        try:
            self._gate.ask(principal, asked, host)
        except PermissionDeniedError as denied:
            error = PermissionDeniedError(
                name=principal.name,
                role=",".join(principal.roles),
                action=denied.action,
                resource=denied.resource,
                missing=NEXT,
            )
            self._identities.refuse(Refusal.ADMINISTRATION, connection, f"{method}: {error}")
            raise error from None
        if not self._audited:
            facts = {"method": method, "principal": principal.name, "address": host}
            _log.info("admin.called", extra=facts)


def guarded(service: Service, require: Require) -> Service:
    """Return the service, whose methods are carried out only for those who may."""
    return Service(
        {path: _unary(take, _name(path), require) for path, take in service.unary.items()},
        {path: _stream(run, _name(path), require) for path, run in service.streaming.items()},
    )


def _unary(take: Unary, method: str, require: Require) -> Unary:
    def taken(calls: Sequence[Call], responder: Responder) -> None:
        passed = []
        for call in calls:
            try:
                require(method, call[5])
            except DatabaseError as error:
                responder.fail([status.failure(call[0], error)])
            else:
                passed.append(call)
        if passed:
            take(passed, responder)

    return taken


def _stream(run: Streaming, method: str, require: Require) -> Streaming:
    async def begun(call: Call, send: Send) -> Metadata | None:
        require(method, call[5])
        return await run(call, send)

    return begun


def _name(path: str) -> str:
    return path.rpartition("/")[2]
