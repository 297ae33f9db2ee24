"""Permission for calls that another member passes on: the leader asks its own roles."""

from amaters_server.access.access import Access
from amaters_server.access.decision import Administer, Asked, Method
from amaters_server.access.gate import Gate
from amaters_server.app.security.protection import Protection
from amaters_server.model.clock import Clock
from amaters_server.model.errors import CredentialExpiredError, PermissionDeniedError
from amaters_server.model.principal import ForwardedFor
from amaters_server.rpc.peer.administration import ROLES, InternalAccess

NAMELESS = (
    "the member that passed this call on did not name its caller, as older versions do: ask the "
    "leader itself, or upgrade that member"
)
ASKED: dict[str, Asked] = {"Members": Administer("NODES")}
"""What the leader asks for a method that serves several: the least of what they demand. The member
that took the call has asked for its own."""


class ForwardGate:
    """What the leader asks before it carries out a call of another member (`node.ports.Permit`)."""

    def __init__(self, protection: Protection | None, clock: Clock) -> None:
        """Without `protection` only administrators of the internal port are asked."""
        audit = None if protection is None else protection.audit
        self._internal = Gate(Access(InternalAccess(), ROLES), audit, "denied")
        self._gate = None if protection is None else protection.gate
        self._clock = clock

    def __call__(self, caller: ForwardedFor | None, method: str) -> None:
        """Pass, or raise PermissionDeniedError or CredentialExpiredError."""
        gate = self._internal if caller is not None and caller.internal else self._gate
        if gate is None:
            return
        if caller is None:
            raise PermissionDeniedError(
                name="unknown", role="none", action="Admin", resource="Server", missing=NAMELESS
            )
        if caller.principal.expired(self._clock.unix_ms() / 1000):
            raise CredentialExpiredError(
                "Authentication failed: the credential has expired meanwhile: log in again"
            )
        asked: Asked = Method(method) if caller.internal else ASKED.get(method, Method(method))
        gate.require(caller.principal, asked, caller.source_ip)
