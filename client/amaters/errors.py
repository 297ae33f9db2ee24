"""Every error this client raises on purpose. Knows nothing of gRPC.

    AmatersError
    ├── UnreachableError         no connection: nothing was sent, or only a read
    ├── DeadlineExceededError    the time of the call ran out; nothing was changed
    ├── UnavailableError         a server answered and cannot serve the call now
    │   ├── NotLeaderError           another node leads; `leader_address` names it when known
    │   ├── NoLeaderError            an election is under way, or no majority is up
    │   ├── NotAppliedError          the write was dropped before it was applied
    │   └── OverloadedError          the server is overloaded; `retry_after` is its pause
    ├── OutcomeUnknownError      a change was sent, and its outcome is unknown
    ├── RefusedError             the cluster's state does not allow the change
    ├── InvalidRequestError      the request is invalid
    ├── NotFoundError            what was named does not exist
    ├── AccessDeniedError        the server does not let this caller in, or do this
    │   ├── UnauthenticatedError     it does not know the caller: no credentials, or wrong ones
    │   └── PermissionDeniedError    it knows the caller, whose roles do not permit the call
    ├── CorruptedValueError      a value does not match its checksum
    ├── ServerFaultError         the server failed: its disk, or a defect
    │   └── StorageFullError         its disk is full, and the write was refused
    ├── ProtocolError            the answer cannot be read by this version of the client
    └── ConfigurationError       an address, a setting or a certificate file is wrong

A message has the fact and the next step. `code` is stable and meant for programs; names and
codes are never reused. `retryable`: the same call may be made again.
"""

from datetime import timedelta
from typing import ClassVar


class AmatersError(Exception):
    """Root of every error this client raises on purpose."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, address: str = "", server_code: str = "") -> None:
        self.address = address
        """The server that failed or could not be reached; empty when there is none to name."""
        self.server_code = server_code
        """The server's own name for the failure; empty when it gave none."""
        super().__init__(f"{address}: {message}" if address else message)


class UnreachableError(AmatersError):
    """The server did not answer, and nothing can have been changed."""

    code = "unreachable"
    retryable = True


class DeadlineExceededError(AmatersError):
    """The time of the call ran out; nothing was changed."""

    code = "deadline_exceeded"
    retryable = True


class UnavailableError(AmatersError):
    """A server answered and cannot serve the call now; nothing was changed."""

    code = "unavailable"
    retryable = True


class NotLeaderError(UnavailableError):
    """The call has to go to the leader and was not to be forwarded."""

    code = "not_leader"

    def __init__(
        self,
        message: str,
        *,
        address: str = "",
        server_code: str = "",
        leader_address: str = "",
    ) -> None:
        self.leader_address = leader_address
        """The leader's client address; empty when the server did not name it."""
        super().__init__(message, address=address, server_code=server_code)


class NoLeaderError(UnavailableError):
    """The cluster has no leader at the moment."""

    code = "no_leader"


class NotAppliedError(UnavailableError):
    """The write was dropped before it could be applied."""

    code = "not_applied"


class OverloadedError(UnavailableError):
    """The server is overloaded."""

    code = "overloaded"

    def __init__(
        self,
        message: str,
        *,
        address: str = "",
        server_code: str = "",
        retry_after: timedelta | None = None,
    ) -> None:
        self.retry_after = retry_after
        """The pause the server asks for; None when it named none."""
        super().__init__(message, address=address, server_code=server_code)


class OutcomeUnknownError(AmatersError):
    """A change was sent and may or may not take effect; check before sending it again."""

    code = "outcome_unknown"


class RefusedError(AmatersError):
    """The present state of the cluster does not allow the request; nothing was changed."""

    code = "refused"


class InvalidRequestError(AmatersError):
    """The request is invalid."""

    code = "invalid_request"


class NotFoundError(AmatersError):
    """The request names something that does not exist."""

    code = "not_found"


class AccessDeniedError(AmatersError):
    """The server does not let this caller in, or do this; nothing was changed."""

    code = "access_denied"


class UnauthenticatedError(AccessDeniedError):
    """The server does not know the caller: credentials are missing, invalid, expired or revoked."""

    code = "unauthenticated"


class PermissionDeniedError(AccessDeniedError):
    """The server knows the caller, whose roles do not permit the call."""

    code = "permission_denied"


class CorruptedValueError(AmatersError):
    """A value does not match the checksum that came with it."""

    code = "corrupted_value"


class ServerFaultError(AmatersError):
    """The server failed while carrying the call out."""

    code = "server_fault"


class StorageFullError(ServerFaultError):
    """The disk of the server is full: nothing was written. A retry helps once it has room."""

    code = "storage_full"


class ProtocolError(AmatersError):
    """The answer cannot be read by this version of the client."""

    code = "protocol"


class ConfigurationError(AmatersError):
    """An address, a setting or a certificate file is wrong."""

    code = "configuration"
