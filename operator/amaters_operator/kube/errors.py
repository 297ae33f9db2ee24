"""What can go wrong at the Kubernetes API. Knows nothing of the client library.

KubeError
├── UnreachableError     no answer, or the API server is not well: look again soon
├── ForbiddenError       a right is missing: install the chart's Role
├── ConflictError        somebody else wrote first: read again
├── RefusedError         the API server does not accept the object
└── LeaseLostError       another operator may be at work: change nothing any more
"""

from typing import ClassVar


class KubeError(Exception):
    """Root of what the Kubernetes API answers instead of what was asked."""

    reason: ClassVar[str] = "KubernetesError"


class ApiUnreachableError(KubeError):
    """No answer, or an answer that the API server is not well; nothing is known."""

    reason = "KubernetesUnreachable"


class ForbiddenError(KubeError):
    """The operator lacks a right."""

    reason = "Forbidden"


class ConflictError(KubeError):
    """The object changed since it was read."""

    reason = "Conflict"


class ApiRejectedError(KubeError):
    """The API server does not accept the object, and never will as it is."""

    reason = "Refused"


class LeaseLostError(KubeError):
    """Another operator may be at work: change nothing any more."""

    reason = "LeaseLost"
