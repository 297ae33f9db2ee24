"""From errors to what callers see: ONE table, looked up along the class's ancestors."""

from typing import NamedTuple

from amaters.wire.errors_pb2 import ErrorCategory, ErrorCode, ErrorResponse

from amaters_server.model.errors import (
    AuthenticationError,
    CertificateRefusedError,
    ChecksumError,
    ConfigurationError,
    CredentialExpiredError,
    DatabaseError,
    DeadlineError,
    InvalidCollectionError,
    InvalidRequestError,
    KeyTooLargeError,
    MalformedError,
    MembershipError,
    MissingFieldError,
    NoLeaderError,
    NotAppliedError,
    NotAuditedError,
    NotLeaderError,
    NotReadyError,
    OutcomeUnknownError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitedError,
    ShuttingDownError,
    SnapshotError,
    StorageCorruptedError,
    StorageError,
    StorageFullError,
    ValueTooLargeError,
)
from amaters_server.model.update_errors import (
    ComputeError,
    MembersTooOldError,
    UpdateTooLargeError,
)
from amaters_server.rpc.transport.calls import Failure, Metadata

CODE_TRAILER = "amaters-code"
LEADER_TRAILER = "amaters-leader"
RETRY_TRAILER = "amaters-retry-after-ms"
"""How long an overloaded server asks the client to wait."""

OK = 0
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
ABORTED = 10
OUT_OF_RANGE = 11
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
UNAUTHENTICATED = 16


class UnsupportedQueryError(InvalidRequestError):
    """The query is of a kind that this server does not carry out."""

    code = "unsupported"


class UnknownServiceError(InvalidRequestError):
    """The health of a service was asked that the listener does not offer."""


class MissingQueryError(MissingFieldError):
    """There is no query in the request at all; the published text for it is one of a kind."""

    def __init__(self) -> None:
        super().__init__("Missing query in request")


class AnswerTooLargeError(InvalidRequestError):
    """The answer would be larger than a message may be."""

    code = "answer_too_large"

    def __init__(self, *, limit: int, written: bool = False) -> None:
        done = "everything was carried out, but " if written else ""
        super().__init__(
            f"{done}the answer is larger than a message may be ({limit} bytes): set a limit, or "
            "stream the range"
        )


class AnswersNotTakenError(OverloadedError):
    """There was no memory for the answer, because callers did not take those made before."""

    code = "answers_not_taken"

    def __init__(self, *, held: int, limit: int) -> None:
        DatabaseError.__init__(
            self,
            f"{held} bytes of answers wait until their callers take them (limit {limit}): retry "
            "after 5 s or on another node, and read answers as they come",
        )
        self.retry_after_seconds = 5


class RewordedError(DatabaseError):
    """Another error in words of its own, which say everything: no prefix is added."""

    def __init__(self, original: DatabaseError, text: str) -> None:
        self.original = original
        super().__init__(text)


class Wire(NamedTuple):
    """How one kind of error looks on the wire."""

    code: "ErrorCode.ValueType"
    category: "ErrorCategory.ValueType"
    prefix: str
    status: int
    """The gRPC status where one can be given: streams, and the admin service."""
    prefix_in_status: bool = False


_E, _C = ErrorCode, ErrorCategory
_STORAGE = "Storage error: [ERROR] "
_UNAVAILABLE = Wire(
    _E.ERROR_SERVER_UNAVAILABLE, _C.CATEGORY_RETRYABLE, "Server unavailable: ", UNAVAILABLE
)
_TIMEOUT = Wire(
    _E.ERROR_NETWORK_TIMEOUT, _C.CATEGORY_RETRYABLE, "Network timeout: ", DEADLINE_EXCEEDED
)
_TOO_LARGE = Wire(
    _E.ERROR_VALIDATION_SIZE_EXCEEDED, _C.CATEGORY_CLIENT_ERROR, "Invalid request: ", OUT_OF_RANGE
)
_UNAUTHENTICATED = Wire(_E.ERROR_AUTH_FAILED, _C.CATEGORY_AUTH, "", UNAUTHENTICATED)

TABLE: dict[type[DatabaseError], Wire] = {
    DatabaseError: Wire(
        _E.ERROR_SERVER_INTERNAL, _C.CATEGORY_SERVER_ERROR, "Server internal error: ", INTERNAL
    ),
    NotLeaderError: _UNAVAILABLE._replace(status=FAILED_PRECONDITION),
    NoLeaderError: _UNAVAILABLE,
    NotAppliedError: _UNAVAILABLE._replace(status=ABORTED),
    NotReadyError: _UNAVAILABLE,
    MembersTooOldError: Wire(
        _E.ERROR_PROTOCOL_UNSUPPORTED_VERSION,
        _C.CATEGORY_NON_RETRYABLE,
        "Unsupported protocol version: ",
        FAILED_PRECONDITION,
    ),
    NotAuditedError: _UNAVAILABLE,
    OutcomeUnknownError: _TIMEOUT,
    DeadlineError: _TIMEOUT,
    OverloadedError: Wire(
        _E.ERROR_SERVER_OVERLOADED,
        _C.CATEGORY_RETRYABLE,
        "Server overloaded: ",
        RESOURCE_EXHAUSTED,
    ),
    RateLimitedError: Wire(
        _E.ERROR_SERVER_OVERLOADED,
        _C.CATEGORY_RETRYABLE,
        "Rate limit exceeded: ",
        RESOURCE_EXHAUSTED,
        prefix_in_status=True,
    ),
    ShuttingDownError: Wire(
        _E.ERROR_SERVER_SHUTTING_DOWN,
        _C.CATEGORY_SERVER_ERROR,
        "Server shutting down: ",
        UNAVAILABLE,
    ),
    InvalidRequestError: Wire(
        _E.ERROR_PROTOCOL_INVALID_REQUEST,
        _C.CATEGORY_CLIENT_ERROR,
        "Invalid request: ",
        FAILED_PRECONDITION,
    ),
    UnknownServiceError: Wire(
        _E.ERROR_PROTOCOL_INVALID_REQUEST, _C.CATEGORY_CLIENT_ERROR, "", NOT_FOUND
    ),
    UnsupportedQueryError: Wire(
        _E.ERROR_COMPUTE_INVALID_OPERATION,
        _C.CATEGORY_CLIENT_ERROR,
        "Invalid request: ",
        FAILED_PRECONDITION,
    ),
    ComputeError: Wire(
        _E.ERROR_COMPUTE_INVALID_OPERATION,
        _C.CATEGORY_CLIENT_ERROR,
        "Invalid request: ",
        FAILED_PRECONDITION,
    ),
    MissingFieldError: Wire(
        _E.ERROR_PROTOCOL_MISSING_FIELD,
        _C.CATEGORY_CLIENT_ERROR,
        "Missing required field: ",
        INVALID_ARGUMENT,
        prefix_in_status=True,
    ),
    MissingQueryError: Wire(
        _E.ERROR_PROTOCOL_MISSING_FIELD, _C.CATEGORY_CLIENT_ERROR, "", INVALID_ARGUMENT
    ),
    MalformedError: Wire(
        _E.ERROR_PROTOCOL_MALFORMED_MESSAGE,
        _C.CATEGORY_CLIENT_ERROR,
        "Malformed message: ",
        INVALID_ARGUMENT,
    ),
    KeyTooLargeError: _TOO_LARGE,
    ValueTooLargeError: _TOO_LARGE,
    AnswerTooLargeError: _TOO_LARGE,
    UpdateTooLargeError: _TOO_LARGE,
    InvalidCollectionError: Wire(
        _E.ERROR_VALIDATION_INVALID_COLLECTION,
        _C.CATEGORY_CLIENT_ERROR,
        "Invalid request: ",
        INVALID_ARGUMENT,
    ),
    AuthenticationError: _UNAUTHENTICATED,
    CredentialExpiredError: _UNAUTHENTICATED._replace(code=_E.ERROR_AUTH_EXPIRED),
    CertificateRefusedError: _UNAUTHENTICATED._replace(code=_E.ERROR_AUTH_INVALID_CERTIFICATE),
    PermissionDeniedError: Wire(
        _E.ERROR_AUTH_INSUFFICIENT_PERMISSIONS,
        _C.CATEGORY_AUTH,
        "Permission denied: ",
        PERMISSION_DENIED,
        prefix_in_status=True,
    ),
    ChecksumError: Wire(
        _E.ERROR_STORAGE_IO, _C.CATEGORY_NON_RETRYABLE, _STORAGE, INTERNAL, prefix_in_status=True
    ),
    StorageError: Wire(
        _E.ERROR_STORAGE_IO, _C.CATEGORY_NON_RETRYABLE, _STORAGE, INTERNAL, prefix_in_status=True
    ),
    StorageFullError: Wire(
        _E.ERROR_STORAGE_FULL, _C.CATEGORY_NON_RETRYABLE, _STORAGE, INTERNAL, prefix_in_status=True
    ),
    StorageCorruptedError: Wire(
        _E.ERROR_STORAGE_CORRUPTED,
        _C.CATEGORY_NON_RETRYABLE,
        _STORAGE,
        INTERNAL,
        prefix_in_status=True,
    ),
    MembershipError: Wire(
        _E.ERROR_PROTOCOL_INVALID_REQUEST, _C.CATEGORY_CLIENT_ERROR, "", FAILED_PRECONDITION
    ),
    SnapshotError: Wire(
        _E.ERROR_PROTOCOL_INVALID_REQUEST, _C.CATEGORY_CLIENT_ERROR, "", FAILED_PRECONDITION
    ),
    ConfigurationError: Wire(
        _E.ERROR_PROTOCOL_INVALID_REQUEST, _C.CATEGORY_CLIENT_ERROR, "", FAILED_PRECONDITION
    ),
}


def wire_of(error: DatabaseError) -> Wire:
    """Return how the error looks on the wire: its own line, or its nearest ancestor's."""
    if isinstance(error, RewordedError):
        return wire_of(error.original)
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def is_fault(error: DatabaseError) -> bool:
    """Whether the error is of this server, which fails or has no room, and not of the request."""
    if isinstance(error, NotLeaderError):
        return False
    category = wire_of(error).category
    return isinstance(error, StorageError) or category in (
        _C.CATEGORY_SERVER_ERROR,
        _C.CATEGORY_RETRYABLE,
    )


def response(error: DatabaseError, *, context: str = "") -> ErrorResponse:
    """Return the error as it travels inside an OK answer; `context` comes first in its text."""
    if isinstance(error, RewordedError):
        answer = response(error.original)
        answer.message = f"{context}{error}"
        return answer
    wire = wire_of(error)
    answer = ErrorResponse(
        code=wire.code,
        message=f"{context or error.context}{wire.prefix}{error}",
        details=_details(error),
        category=wire.category,
    )
    if isinstance(error, OverloadedError):
        answer.retry_after = error.retry_after_seconds
    return answer


def failure(call_id: int, error: DatabaseError) -> Failure:
    """Return the error as a gRPC status, with what a program needs in the trailing metadata."""
    wire = wire_of(error)
    text = f"{wire.prefix}{error}" if wire.prefix_in_status else str(error)
    return call_id, wire.status, text, trailers(error)


def trailers(error: DatabaseError) -> Metadata:
    """Return the stable code, and the leader's client address when the error knows it."""
    found: Metadata = [(CODE_TRAILER, error.code)]
    if isinstance(error, NotLeaderError) and error.leader_address:
        found.append((LEADER_TRAILER, error.leader_address))
    if isinstance(error, OverloadedError):
        found.append((RETRY_TRAILER, str(1000 * error.retry_after_seconds)))
    return found


def _details(error: DatabaseError) -> str:
    words = [f"code={error.code}"]
    if isinstance(error, NotLeaderError) and error.leader_address:
        words.append(f"leader={error.leader_address}")
    return " ".join(words)
