"""What can go wrong at the Kubernetes API. Knows nothing of the client library.

KubeError
├── ApiUnreachableError  no answer, or the API server is not well: retry soon
├── ForbiddenError       a right is missing: install the chart's Role
├── ConflictError        another writer was first: read again
├── ApiRejectedError     the API server does not accept the object
└── LeaseLostError       another operator may be working: change nothing
"""

from typing import ClassVar


class KubeError(Exception):
    """Root of the errors of the Kubernetes API."""

    reason: ClassVar[str] = "KubernetesError"


class ApiUnreachableError(KubeError):
    """No answer, or one that says the API server is not well; the outcome is unknown."""

    reason = "KubernetesUnreachable"


class ForbiddenError(KubeError):
    """The operator lacks a right."""

    reason = "Forbidden"


class ConflictError(KubeError):
    """The object changed since it was read."""

    reason = "Conflict"


class ApiRejectedError(KubeError):
    """The API server rejects the object, and will until it is changed."""

    reason = "Refused"


class LeaseLostError(KubeError):
    """Another operator may be working: change nothing."""

    reason = "LeaseLost"
