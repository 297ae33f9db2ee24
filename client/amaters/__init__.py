"""The AmateRS client: what applications, `amaters-cli` and the operator import."""

import importlib

from amaters.version import __version__

# Type checkers take it for true; importing it from `typing` would double the time until the
# programs react to an interrupt, or a server to a signal to stop.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from amaters.admin.client import AdminClient
    from amaters.data.client import AmatersClient
    from amaters.data.transactions import Transaction
    from amaters.errors import (
        AccessDeniedError,
        AmatersError,
        ConfigurationError,
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
    from amaters.predicates import Change, Where
    from amaters.transport.login import ApiKey, ApiKeyFile, Token, TokenFile
    from amaters.transport.tls import TlsFiles, TlsMaterial
    from amaters.values import (
        ClientOptions,
        Compression,
        Consistency,
        Delete,
        Entry,
        Filter,
        Get,
        Health,
        Range,
        ScanProgress,
        ServerInfo,
        Set,
        Update,
        WriteRetries,
    )

__all__ = [
    "AccessDeniedError",
    "AdminClient",
    "AmatersClient",
    "AmatersError",
    "ApiKey",
    "ApiKeyFile",
    "Change",
    "ClientOptions",
    "Compression",
    "ConfigurationError",
    "Consistency",
    "CorruptedValueError",
    "DeadlineExceededError",
    "Delete",
    "Entry",
    "Filter",
    "Get",
    "Health",
    "InvalidRequestError",
    "NoLeaderError",
    "NotAppliedError",
    "NotFoundError",
    "NotLeaderError",
    "OutcomeUnknownError",
    "OverloadedError",
    "PermissionDeniedError",
    "ProtocolError",
    "Range",
    "RefusedError",
    "ScanProgress",
    "ServerFaultError",
    "ServerInfo",
    "Set",
    "StorageFullError",
    "TlsFiles",
    "TlsMaterial",
    "Token",
    "TokenFile",
    "Transaction",
    "UnauthenticatedError",
    "UnavailableError",
    "UnreachableError",
    "Update",
    "Where",
    "WriteRetries",
    "__version__",
]

_HOMES = {
    "AccessDeniedError": "amaters.errors",
    "AdminClient": "amaters.admin.client",
    "AmatersClient": "amaters.data.client",
    "AmatersError": "amaters.errors",
    "ApiKey": "amaters.transport.login",
    "ApiKeyFile": "amaters.transport.login",
    "Change": "amaters.predicates",
    "ClientOptions": "amaters.values",
    "Compression": "amaters.values",
    "ConfigurationError": "amaters.errors",
    "Consistency": "amaters.values",
    "CorruptedValueError": "amaters.errors",
    "DeadlineExceededError": "amaters.errors",
    "Delete": "amaters.values",
    "Entry": "amaters.values",
    "Filter": "amaters.values",
    "Get": "amaters.values",
    "Health": "amaters.values",
    "InvalidRequestError": "amaters.errors",
    "NoLeaderError": "amaters.errors",
    "NotAppliedError": "amaters.errors",
    "NotFoundError": "amaters.errors",
    "NotLeaderError": "amaters.errors",
    "OutcomeUnknownError": "amaters.errors",
    "OverloadedError": "amaters.errors",
    "PermissionDeniedError": "amaters.errors",
    "ProtocolError": "amaters.errors",
    "Range": "amaters.values",
    "RefusedError": "amaters.errors",
    "ScanProgress": "amaters.values",
    "ServerFaultError": "amaters.errors",
    "ServerInfo": "amaters.values",
    "Set": "amaters.values",
    "StorageFullError": "amaters.errors",
    "TlsFiles": "amaters.transport.tls",
    "TlsMaterial": "amaters.transport.tls",
    "Token": "amaters.transport.login",
    "TokenFile": "amaters.transport.login",
    "Transaction": "amaters.data.transactions",
    "UnauthenticatedError": "amaters.errors",
    "UnavailableError": "amaters.errors",
    "UnreachableError": "amaters.errors",
    "Update": "amaters.values",
    "Where": "amaters.predicates",
    "WriteRetries": "amaters.values",
}


def __getattr__(name: str) -> object:
    """Import a name on first use: gRPC is not loaded for a version or a stub."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
