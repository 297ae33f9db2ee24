"""From errors to HTTP: ONE table from their stable codes to a status and the next step. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

from amaters.wire.errors_pb2 import ErrorCategory, ErrorCode, ErrorResponse

from amaters_server.model.errors import DatabaseError, InvalidRequestError, OverloadedError
from amaters_server.rpc.transport import status
from amaters_server.rpc.transport.calls import Failure


class GatewayError(InvalidRequestError):
    """A request that is no call: what is wrong with it as HTTP."""

    number: ClassVar["ErrorCode.ValueType"] = ErrorCode.ERROR_PROTOCOL_INVALID_REQUEST
    """The published code that is nearest."""


class NotFoundError(GatewayError):
    """The key is not there."""

    code = "not_found"
    number = ErrorCode.ERROR_STORAGE_NOT_FOUND


class NoEndpointError(GatewayError):
    """The path is none of the gateway's."""

    code = "no_such_endpoint"


class MethodNotAllowedError(GatewayError):
    """The path has other methods."""

    code = "method_not_allowed"

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        self.allowed = allowed
        super().__init__(f"{method} is no method of this path: use {', '.join(allowed)}")


class MediaTypeError(GatewayError):
    """The body is of a type or an encoding that the path does not take."""

    code = "unsupported_media_type"


class NotAcceptableError(GatewayError):
    """No type that the caller accepts can be made."""

    code = "not_acceptable"


class BodyTooLargeError(GatewayError):
    """The body is larger than bodies may be."""

    code = "body_too_large"
    number = ErrorCode.ERROR_VALIDATION_SIZE_EXCEEDED

    def __init__(self, limit: int, key: str) -> None:
        super().__init__(f"the body is larger than {limit} bytes: send less, or raise {key}")


class BodyTimeoutError(GatewayError):
    """The body did not arrive in time."""

    code = "body_timeout"


class NoRoomError(OverloadedError):
    """The large bodies of other requests take all the memory that there is for them."""

    def __init__(self, limit: int) -> None:
        self.retry_after_seconds = 1
        DatabaseError.__init__(
            self,
            f"the bodies of other requests take the {limit} bytes that there are for them: retry "
            "after 1 s, or send less in one request",
        )


class Http(NamedTuple):
    """How an error of some code looks in HTTP."""

    status: int
    next: str
    """What its caller does next."""


_CORRECT = "correct the request; a repetition fails in the same way"
_ELSEWHERE = "repeat the request, on another node if there is one"
_LOG_IN = "send valid credentials: a token, an API key or a client certificate"
_LATER = "repeat the request after the time in Retry-After"
_REPORT = "see the log of this node; a repetition may fail in the same way"

BY_CODE: Final[Mapping[str, Http]] = {
    "not_found": Http(404, "write the key first, or read another one"),
    "no_such_endpoint": Http(404, "see /openapi.json for the paths"),
    "method_not_allowed": Http(405, "see the Allow header, or /openapi.json"),
    "not_acceptable": Http(406, "accept application/json or application/octet-stream"),
    "body_timeout": Http(408, "send the body at once, or a smaller one"),
    "body_too_large": Http(413, "send less in one request"),
    "unsupported_media_type": Http(415, "send one of the types in the message"),
    "invalid_request": Http(400, _CORRECT),
    "missing_field": Http(400, "add the field that the message names"),
    "malformed": Http(400, _CORRECT),
    "unsupported": Http(400, "see GET /api/v1/info for what this server carries out"),
    "invalid_collection": Http(400, "use a shorter name"),
    "key_too_large": Http(400, "use a shorter key"),
    "value_too_large": Http(413, "split the value"),
    "compute_unsupported": Http(422, "update plaintext values of up to 64 bytes only"),
    "update_too_large": Http(413, "update fewer rows at once, or raise the limit that is named"),
    "answer_too_large": Http(422, "set a limit, or accept application/x-ndjson to stream"),
    "request_id_reused": Http(422, "use a new Idempotency-Key for every new write"),
    "checksum": Http(400, "send the value again"),
    "unauthenticated": Http(401, _LOG_IN),
    "credential_expired": Http(401, "log in again"),
    "invalid_certificate": Http(401, _LOG_IN),
    "permission_denied": Http(403, "ask an administrator for a role that permits it"),
    "rate_limited": Http(429, _LATER),
    "too_many_failures": Http(429, "correct the credentials, and wait as Retry-After says"),
    "overloaded": Http(503, _LATER),
    "memory_exceeded": Http(503, _LATER),
    "answers_not_taken": Http(503, _LATER),
    "shutting_down": Http(503, _ELSEWHERE),
    "not_ready": Http(503, _ELSEWHERE),
    "no_leader": Http(503, "repeat the request soon, or check that a majority is up"),
    "members_too_old": Http(409, "finish the upgrade of the member that is named, then repeat"),
    "not_leader": Http(503, "send the request to the leader that the answer names"),
    "not_applied": Http(503, "repeat the request: nothing was written"),
    "not_audited": Http(503, "make room on the disk of the audit log, or use another node"),
    "deadline": Http(504, "repeat the request: nothing was written"),
    "outcome_unknown": Http(504, "read the key back, or repeat with the same Idempotency-Key"),
    "storage_full": Http(507, "make room on the disk, or enlarge the volume"),
    "storage": Http(500, _REPORT),
    "storage_corrupted": Http(500, _REPORT),
    "storage_lost": Http(500, _REPORT),
    "internal": Http(500, _REPORT),
}
"""Codes that are not here are answered by their category."""

BY_CATEGORY: Final[Mapping[int, Http]] = {
    ErrorCategory.CATEGORY_RETRYABLE: Http(503, _LATER),
    ErrorCategory.CATEGORY_AUTH: Http(403, _LOG_IN),
    ErrorCategory.CATEGORY_CLIENT_ERROR: Http(400, _CORRECT),
}
_FAULT = Http(500, _REPORT)
_CATEGORIES = {
    number: name.removeprefix("CATEGORY_").lower() for name, number in (ErrorCategory.items())
}
_BY_STATUS: Final[Mapping[int, "ErrorCode.ValueType"]] = {
    status.UNAUTHENTICATED: ErrorCode.ERROR_AUTH_FAILED,
    status.PERMISSION_DENIED: ErrorCode.ERROR_AUTH_INSUFFICIENT_PERMISSIONS,
    status.UNAVAILABLE: ErrorCode.ERROR_SERVER_UNAVAILABLE,
    status.RESOURCE_EXHAUSTED: ErrorCode.ERROR_SERVER_OVERLOADED,
    status.DEADLINE_EXCEEDED: ErrorCode.ERROR_NETWORK_TIMEOUT,
}
_CATEGORY_OF_STATUS: Final[Mapping[int, "ErrorCategory.ValueType"]] = {
    status.UNAUTHENTICATED: ErrorCategory.CATEGORY_AUTH,
    status.PERMISSION_DENIED: ErrorCategory.CATEGORY_AUTH,
    status.UNAVAILABLE: ErrorCategory.CATEGORY_RETRYABLE,
    status.RESOURCE_EXHAUSTED: ErrorCategory.CATEGORY_RETRYABLE,
    status.DEADLINE_EXCEEDED: ErrorCategory.CATEGORY_RETRYABLE,
}


class CallFailedError(Exception):
    """A call was answered with an error of the published kind."""

    def __init__(self, response: ErrorResponse) -> None:
        self.response = response
        super().__init__(response.message)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as HTTP sees it."""

    status: int
    headers: dict[str, str]
    body: dict[str, object]


def failed(failure: Failure) -> CallFailedError:
    """Return the error of a call that ended with a gRPC status."""
    _, number, text, trailers = failure
    facts = {name: str(value) for name, value in trailers or ()}
    answer = ErrorResponse(
        code=_BY_STATUS.get(number, ErrorCode.ERROR_SERVER_INTERNAL),
        message=text,
        details=f"code={facts.get(status.CODE_TRAILER, 'internal')}",
        category=_CATEGORY_OF_STATUS.get(number, ErrorCategory.CATEGORY_SERVER_ERROR),
    )
    if status.RETRY_TRAILER in facts:
        answer.retry_after = int(facts[status.RETRY_TRAILER]) // 1000
    return CallFailedError(answer)


def _response(error: DatabaseError) -> ErrorResponse:
    answer = status.response(error)
    if isinstance(error, GatewayError):
        answer.code, answer.message = error.number, str(error)
    return answer


def refusal(error: DatabaseError | CallFailedError, request_id: str) -> Refusal:
    """Return how a request that failed is answered."""
    answer = error.response if isinstance(error, CallFailedError) else _response(error)
    facts = dict(word.partition("=")[::2] for word in answer.details.split())
    code = facts.get("code", "internal")
    http = BY_CODE.get(code) or BY_CATEGORY.get(answer.category, _FAULT)
    body: dict[str, object] = {
        "code": code,
        "number": int(answer.code),
        "category": _CATEGORIES[answer.category],
        "message": answer.message,
        "next": http.next,
        "request_id": request_id,
    }
    headers: dict[str, str] = {}
    if answer.HasField("retry_after"):
        headers["Retry-After"] = str(answer.retry_after)
        body["retry_after_seconds"] = answer.retry_after
    if "leader" in facts:
        body["leader"] = facts["leader"]
    if http.status == 401:  # noqa: PLR2004
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowedError):
        headers["Allow"] = ", ".join(error.allowed)
    return Refusal(http.status, headers, {"error": body})
