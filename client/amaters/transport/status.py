"""Tables from failures on the wire to this client's errors.

A server names its failure in one of three ways: the trailing metadata `amaters-code` (its own
stable code), the code of an in-band `ErrorResponse`, or, from
another implementation, the gRPC status alone.
"""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import cast

import grpc

from amaters.errors import (
    AccessDeniedError,
    AmatersError,
    CorruptedValueError,
    DeadlineExceededError,
    InvalidRequestError,
    NoLeaderError,
    NotAppliedError,
    NotFoundError,
    NotLeaderError,
    OutcomeUnknownError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    RefusedError,
    ServerFaultError,
    StorageFullError,
    UnauthenticatedError,
    UnavailableError,
    UnreachableError,
)
from amaters.wire.errors_pb2 import ErrorResponse

CODE_TRAILER = "amaters-code"
LEADER_TRAILER = "amaters-leader"
RETRY_TRAILER = "amaters-retry-after-ms"
ANSWER_TOO_LARGE = "answer_too_large"
"""The server's code for an answer that has to be streamed."""

BY_SERVER_CODE: dict[str, type[AmatersError]] = {
    "not_leader": NotLeaderError,
    "no_leader": NoLeaderError,
    "outcome_unknown": OutcomeUnknownError,
    "not_applied": NotAppliedError,
    "deadline": DeadlineExceededError,
    "overloaded": OverloadedError,
    "answers_not_taken": OverloadedError,
    "shutting_down": UnavailableError,
    "not_ready": UnavailableError,
    "invalid_request": InvalidRequestError,
    "missing_field": InvalidRequestError,
    "malformed": InvalidRequestError,
    "key_too_large": InvalidRequestError,
    "value_too_large": InvalidRequestError,
    "invalid_collection": InvalidRequestError,
    "request_id_reused": InvalidRequestError,
    "unsupported": InvalidRequestError,
    "update_too_large": InvalidRequestError,
    "compute_unsupported": InvalidRequestError,
    "members_too_old": RefusedError,
    ANSWER_TOO_LARGE: InvalidRequestError,
    "checksum": CorruptedValueError,
    "storage": ServerFaultError,
    "storage_full": StorageFullError,
    "storage_corrupted": ServerFaultError,
    "storage_lost": ServerFaultError,
    "membership": RefusedError,
    "snapshot": RefusedError,
    "configuration": RefusedError,
    "unauthenticated": UnauthenticatedError,
    "credential_expired": UnauthenticatedError,
    "invalid_certificate": UnauthenticatedError,
    "permission_denied": PermissionDeniedError,
    "not_audited": UnavailableError,
    "too_many_failures": OverloadedError,
    "rate_limited": OverloadedError,
    "memory_exceeded": OverloadedError,
    "internal": ServerFaultError,
}

BY_GRPC_STATUS: dict[grpc.StatusCode, type[AmatersError]] = {
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.UNKNOWN: ServerFaultError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: RefusedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    # Without a code of the server gRPC refused the size of a message: a retry is useless.
    grpc.StatusCode.RESOURCE_EXHAUSTED: RefusedError,
    grpc.StatusCode.FAILED_PRECONDITION: RefusedError,
    grpc.StatusCode.ABORTED: NotAppliedError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.UNIMPLEMENTED: ProtocolError,
    grpc.StatusCode.INTERNAL: ServerFaultError,
    grpc.StatusCode.UNAVAILABLE: UnreachableError,
    grpc.StatusCode.DATA_LOSS: ServerFaultError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
}

_LONGEST_WAIT = 24 * 3600
"""Seconds; a server that asks for a longer pause is given this one."""

_LOST = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
}

BY_ERROR_CODE: dict[int, type[AmatersError]] = {
    # 1000: a published server says so when an operation ran out of time, a write among them.
    1000: DeadlineExceededError,
    1001: UnavailableError,
    1002: UnavailableError,
    1003: UnavailableError,
    1004: AccessDeniedError,
    3000: UnauthenticatedError,
    3001: UnauthenticatedError,
    3002: PermissionDeniedError,
    3003: UnauthenticatedError,
    4000: NotFoundError,
    4001: RefusedError,
    4003: StorageFullError,
    7001: UnavailableError,
    7002: OverloadedError,
    7003: UnavailableError,
}

BY_ERROR_FAMILY: dict[int, type[AmatersError]] = {
    2: InvalidRequestError,
    3: AccessDeniedError,
    4: ServerFaultError,
    5: ServerFaultError,
    6: InvalidRequestError,
    7: ServerFaultError,
}


def from_rpc(error: grpc.aio.AioRpcError, *, address: str, changing: bool = False) -> AmatersError:
    """Translate a failed call; raise the result `from` the original.

    With `changing` a lost answer is an OutcomeUnknownError: the server may have done its part.
    """
    trailers = texts(error.trailing_metadata())
    server_code = trailers.get(CODE_TRAILER, "")
    leader = trailers.get(LEADER_TRAILER, "")
    if changing and not server_code and error.code() in _LOST:
        return lost_change(f"the answer was lost ({plain_reason(error.details())})", address)
    kind = BY_SERVER_CODE.get(server_code) or BY_GRPC_STATUS[error.code()]
    if leader and kind is RefusedError:
        kind = NotLeaderError
    message = _message(kind, error)
    if kind is NotLeaderError:
        return NotLeaderError(
            message, address=address, server_code=server_code, leader_address=leader
        )
    if kind is OverloadedError:
        wait = _wait(trailers.get(RETRY_TRAILER, ""))
        return OverloadedError(message, address=address, server_code=server_code, retry_after=wait)
    return kind(message, address=address, server_code=server_code)


def _wait(milliseconds: str) -> timedelta | None:
    if not re.fullmatch("[0-9]{1,9}", milliseconds):
        return None
    return timedelta(seconds=min(int(milliseconds) / 1000, _LONGEST_WAIT))


def lost_change(why: str, address: str) -> OutcomeUnknownError:
    """Return the error of a change that was sent and whose outcome is unknown."""
    return OutcomeUnknownError(
        f"{why}: the change may or may not have been made: check before you send it again",
        address=address,
    )


def silent(why: Exception, address: str, *, changing: bool) -> AmatersError:
    """Return the error of a connection without answers."""
    if changing:
        return lost_change(str(why), address)
    return UnreachableError(f"{why}: check the network and the server's health", address=address)


def from_response(error: ErrorResponse, *, address: str) -> AmatersError:
    """Translate a failure that travelled inside an OK answer.

    `details` of this project's server is a list of `name=value` words: code, leader.
    """
    facts = dict(word.split("=", 1) for word in error.details.split() if "=" in word)
    server_code = facts.get("code", "")
    kind = (
        BY_SERVER_CODE.get(server_code)
        or BY_ERROR_CODE.get(error.code)
        or BY_ERROR_FAMILY.get(error.code // 1000, ServerFaultError)
    )
    message = error.message or f"the server failed with code {error.code} and no word"
    if kind is NotLeaderError:
        return NotLeaderError(
            message,
            address=address,
            server_code=server_code,
            leader_address=facts.get("leader", ""),
        )
    if kind is OverloadedError:
        wait = (
            timedelta(seconds=min(error.retry_after, _LONGEST_WAIT))
            if error.HasField("retry_after")
            else None
        )
        return OverloadedError(message, address=address, server_code=server_code, retry_after=wait)
    return kind(message, address=address, server_code=server_code)


def plain_reason(details: str | None) -> str:
    """Cut gRPC's account of a failed connection down to the part a person can use."""
    text = details or "no reason given"
    text = text.rsplit("last error: ", 1)[-1]
    text = text.rsplit("Failed to connect to remote host: ", 1)[-1]
    text = text.removeprefix("UNKNOWN: ").removeprefix("UNAVAILABLE: ").removeprefix("INTERNAL: ")
    handshake = _HANDSHAKE.search(text)
    return f"TLS handshake failed: {handshake[1]}" if handshake else _ADDRESS.sub("", text)


_HANDSHAKE = re.compile(r"SSL routines:OPENSSL_internal:([A-Z_0-9]+)")
_ADDRESS = re.compile(r"^ipv[46]:\S+: ")


def _message(kind: type[AmatersError], error: grpc.aio.AioRpcError) -> str:
    details = error.details() or ""
    if kind is UnreachableError:
        return f"no answer ({plain_reason(details)}): check that the server runs and is reachable"
    if kind is DeadlineExceededError and details in ("", "Deadline Exceeded"):
        return "no answer in the time given: allow more time, or look at the server's health"
    if kind is ProtocolError:
        return (
            f"this call is not served there ({details}): check the port (clients 7878, internal "
            "7879), or upgrade the older of client and server"
        )
    return details or f"the call failed with {error.code().name} and no reason"


def texts(metadata: object) -> dict[str, str]:
    """Read the textual entries of a call's metadata."""
    # Pairs at run time; the published stubs describe another shape.
    pairs = cast("Iterable[tuple[str, str | bytes]]", metadata or ())
    return {name: value for name, value in pairs if isinstance(value, str)}
