"""Every failure this server raises on purpose, with its stable code and the next step.

    DatabaseError
    ├── NotLeaderError            another node leads; its address is named when known
    ├── NoLeaderError             no leader is known
    ├── OutcomeUnknownError       a write may or may not have been applied
    ├── NotAppliedError           a write was certainly not applied; retry it
    ├── DeadlineError             the caller's time ran out before anything was proposed
    ├── OverloadedError           too many calls wait already
    │   ├── TooManyFailuresError   too many logins from one address have failed
    │   ├── RateLimitedError       more calls a second than are taken
    │   └── MemoryExceededError    the process holds more memory than it may
    ├── ShuttingDownError         this node is stopping
    ├── NotReadyError             not part of a formed cluster (yet), or restoring
    ├── InvalidRequestError       the request is invalid
    │   ├── MissingFieldError
    │   ├── MalformedError
    │   ├── KeyTooLargeError
    │   ├── ValueTooLargeError
    │   ├── InvalidCollectionError
    │   ├── RequestIdReusedError   another write has this request id
    │   ├── UpdateTooLargeError    more rows or bytes than one update may touch
    │   └── ComputeError           an update of values that the server cannot compute with
    ├── MembersTooOldError        a member's version does not know what the write does
    ├── AuthenticationError       the caller's credentials are missing or invalid
    │   ├── CredentialExpiredError
    │   └── CertificateRefusedError
    ├── PermissionDeniedError     the caller is known, and may not do this
    ├── NotAuditedError           the audit log takes no lines, and must not miss one
    ├── ChecksumError             a value does not match its checksum
    ├── StorageError              the disk failed
    │   ├── StorageFullError
    │   └── StorageCorruptedError
    │       └── StorageLostError  the disk holds less than was acknowledged
    ├── MembershipError           a membership change was refused
    ├── SnapshotError             a backup or a snapshot cannot be written, read or used
    └── ConfigurationError        the configuration is wrong

`rpc.status` holds the one table from these classes to codes on the wire, looked up along the MRO.
"""

import errno
import math
import os
from collections.abc import Mapping
from typing import ClassVar


class DatabaseError(Exception):
    """Root of every error this server raises on purpose."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    facts: ClassVar[tuple[str, ...]] = ()
    """The attributes, texts and whole numbers, that programs read; they travel with the error."""

    def __init__(self, text: str = "", *, reason: str | None = None) -> None:
        super().__init__(text)
        self.reason = text if reason is None else reason
        """The part of the text that its class does not add."""
        self.place: int | None = None
        """Which of several operations it is about; None: that is not known."""
        self.context = ""
        """What comes first in its text on the wire."""

    @classmethod
    def received(cls, text: str, reason: str, facts: Mapping[str, "str | int"]) -> "DatabaseError":
        """Return an error as another member raised it; ValueError when a fact is missing."""
        error = cls.__new__(cls)
        DatabaseError.__init__(error, text, reason=reason)
        for name in cls.facts:
            if name not in facts:
                raise ValueError(f"{name} of {cls.code} is missing")
            setattr(error, name, facts[name])
        return error


class NotLeaderError(DatabaseError):
    """The call must run on the leader, and its caller forbade forwarding."""

    code = "not_leader"
    retryable = True
    facts = ("node", "leader", "leader_address")

    def __init__(self, *, node: int, leader: int, leader_address: str) -> None:
        self.node = node
        self.leader = leader
        self.leader_address = leader_address
        super().__init__(
            f"node {node} is not the leader: retry on node {leader} at {leader_address}"
        )


class NoLeaderError(DatabaseError):
    """No leader is known; an election may be in progress."""

    code = "no_leader"
    retryable = True
    facts = ("node",)

    def __init__(self, *, node: int) -> None:
        self.node = node
        super().__init__(f"node {node} knows no leader: retry soon, or check that a majority is up")


class OutcomeUnknownError(DatabaseError):
    """The write was proposed, and its outcome was not known in time."""

    code = "outcome_unknown"
    retryable = True

    def __init__(self, why: str) -> None:
        super().__init__(
            f"{why}: the write may or may not have been applied; read it back, or retry it with "
            "the same request id",
            reason=why,
        )


class NotAppliedError(DatabaseError):
    """The write was dropped before it could be applied; a retry is safe."""

    code = "not_applied"
    retryable = True

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}: the write was not applied, retry it", reason=why)


class DeadlineError(DatabaseError):
    """The caller's time ran out, and nothing was changed."""

    code = "deadline"
    retryable = True

    def __init__(self, waited_for: str) -> None:
        super().__init__(
            f"time ran out while waiting for {waited_for}: nothing was changed, retry",
            reason=waited_for,
        )


class OverloadedError(DatabaseError):
    """Too many calls wait; one more would only slow the others."""

    code = "overloaded"
    retryable = True
    facts = ("retry_after_seconds",)

    def __init__(self, *, waiting: int, limit: int) -> None:
        self.retry_after_seconds = 1
        super().__init__(f"{waiting} calls are waiting already (limit {limit}): retry after 1 s")


class TooManyFailuresError(OverloadedError):
    """Logins from this address failed too often; the next ones are not even checked."""

    code = "too_many_failures"

    def __init__(self, *, address: str, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        DatabaseError.__init__(
            self,
            f"too many logins from {address} have failed: correct the credentials, and retry "
            f"after {retry_after_seconds} s",
        )


class RateLimitedError(OverloadedError):
    """More calls came in a second than this node is configured to take; nothing was done."""

    code = "rate_limited"

    def __init__(self, *, milliseconds: int, per_second: float, client: str = "") -> None:
        """`client` is the address whose own limit it is; empty: the limit of all together."""
        self.retry_after_seconds = max(1, math.ceil(milliseconds / 1000))
        which = f"Rate limit of client {client}" if client else "Global rate limit"
        DatabaseError.__init__(
            self,
            f"{which} exceeded, retry after {milliseconds}ms ({per_second:.0f} calls a second are "
            "taken)",
        )


class MemoryExceededError(OverloadedError):
    """The process holds more memory than it may, and the call would take more; nothing was done."""

    code = "memory_exceeded"

    def __init__(self, *, used: int, limit: int) -> None:
        self.retry_after_seconds = 5
        DatabaseError.__init__(
            self,
            f"this node uses {used} bytes of memory (limit {limit}) and takes small queries only: "
            "retry after 5 s, or on another node",
        )


class ShuttingDownError(DatabaseError):
    """The node is stopping; another one serves."""

    code = "shutting_down"
    retryable = True

    def __init__(self) -> None:
        super().__init__("this node is shutting down: retry on another node")


class NotReadyError(DatabaseError):
    """The node is not (yet) part of a formed cluster, or its data is being restored."""

    code = "not_ready"
    retryable = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"this node does not serve now: {reason}", reason=reason)


class InvalidRequestError(DatabaseError):
    """The request is invalid, so a retry cannot succeed."""

    code = "invalid_request"


class MissingFieldError(InvalidRequestError):
    """A required part of the request is absent."""

    code = "missing_field"
    facts = ("field",)

    def __init__(self, field: str) -> None:
        self.field = field
        super().__init__(field)


class MalformedError(InvalidRequestError):
    """A part of the request has an invalid value."""

    code = "malformed"


class KeyTooLargeError(InvalidRequestError):
    """The key is longer than keys may be."""

    code = "key_too_large"

    def __init__(self, *, size: int, limit: int) -> None:
        super().__init__(f"the key has {size} bytes, the limit is {limit}: use a shorter key")


class ValueTooLargeError(InvalidRequestError):
    """The value is longer than values may be."""

    code = "value_too_large"

    def __init__(self, *, size: int, limit: int) -> None:
        super().__init__(f"the value has {size} bytes, the limit is {limit}: split the value")


class InvalidCollectionError(InvalidRequestError):
    """The collection's name is longer than names may be."""

    code = "invalid_collection"

    def __init__(self, *, size: int, limit: int) -> None:
        super().__init__(f"the collection name has {size} bytes, the limit is {limit}")


class RequestIdReusedError(InvalidRequestError):
    """Another write of the session has this sequence; this one was not applied."""

    code = "request_id_reused"

    def __init__(self, sequence: int) -> None:
        super().__init__(
            f"write {sequence} of this session was another one: nothing was written; count the "
            "sequence up for every new write, and repeat a write unchanged"
        )


class AuthenticationError(DatabaseError):
    """Who calls is unknown: no credentials were sent, or they are not valid here."""

    code = "unauthenticated"


class CredentialExpiredError(AuthenticationError):
    """The token or the key was valid, and has ended."""

    code = "credential_expired"


class CertificateRefusedError(AuthenticationError):
    """The client's certificate is revoked, or names nobody who may call."""

    code = "invalid_certificate"


class PermissionDeniedError(DatabaseError):
    """The caller is known, and its roles do not permit the call; nothing was done."""

    code = "permission_denied"
    facts = ("action", "resource")

    def __init__(self, *, name: str, role: str, action: str, resource: str, missing: str) -> None:
        self.action = action
        self.resource = resource
        super().__init__(
            f"User '{name}' with role '{role}' not authorized to {action} on {resource}: {missing}"
        )


class NotAuditedError(DatabaseError):
    """The audit log takes no lines, and the node is configured to do nothing unrecorded."""

    code = "not_audited"
    retryable = True

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"nothing was done, because it could not be written to the audit log ({reason}): make "
            "room on its disk, or retry on another node",
            reason=reason,
        )


class ChecksumError(DatabaseError):
    """The value's bytes do not match the checksum sent with them."""

    code = "checksum"
    facts = ("expected", "computed")

    def __init__(self, *, expected: int, computed: int) -> None:
        self.expected = expected
        self.computed = computed
        super().__init__(f"Checksum mismatch: expected {expected}, got {computed}")


class StorageError(DatabaseError):
    """The disk or the engine on it failed."""

    code = "storage"


class StorageFullError(StorageError):
    """The data disk is full."""

    code = "storage_full"


class StorageCorruptedError(StorageError):
    """Stored data is damaged."""

    code = "storage_corrupted"


class StorageLostError(StorageCorruptedError):
    """The disk holds less than it was acknowledged to hold."""

    code = "storage_lost"


class MembershipError(DatabaseError):
    """The membership change was refused; nothing was changed."""

    code = "membership"


class SnapshotError(DatabaseError):
    """A backup or a snapshot cannot be written, read or used."""

    code = "snapshot"


class ConfigurationError(DatabaseError):
    """The configuration is wrong; each line of the message names one key."""

    code = "configuration"

    @classmethod
    def of_path(cls, doing: str, wrong: OSError, key: str) -> "ConfigurationError":
        """Return the error for a path, named by a key, that cannot be written to."""
        advice = f"set {key} to a path this user may write"
        if wrong.errno in {errno.EEXIST, errno.ENOTDIR}:
            advice = f"a file is in its place: move it away, or set {key} to another path"
        if wrong.errno in {errno.ENOSPC, errno.EDQUOT}:
            advice = f"make room on that disk, or set {key} to a path on another one"
        return cls(f"{doing} ({wrong.strerror}): {advice}")

    @classmethod
    def of_address(cls, doing: str, wrong: OSError, otherwise: str) -> "ConfigurationError":
        """Return the error for an address that cannot be listened on."""
        reason = os.strerror(wrong.errno) if wrong.errno else str(wrong)
        advice = f"stop what listens there, or {otherwise}"
        if wrong.errno == errno.EADDRNOTAVAIL:
            advice = f"this machine has no such address: {otherwise}, with 0.0.0.0 or [::] for all it has"
        return cls(f"{doing} ({reason}): {advice}")
