"""gRPC in batches: a listener, and connections to others (see transport.pyi for the promises)."""

from typing import TypeAlias

from amaters_native._native import (
    Channel,
    ClientIdentity,
    Connection,
    Connector,
    Download,
    Listener,
    ListenerStats,
    Stream,
    TlsIdentity,
    release_memory,
)

__all__ = [
    "Call",
    "Channel",
    "ClientIdentity",
    "Connection",
    "Connector",
    "Download",
    "Ended",
    "Listener",
    "ListenerStats",
    "Metadata",
    "Stream",
    "TlsIdentity",
    "release_memory",
]

Metadata: TypeAlias = list[tuple[str, str | bytes]]
Call: TypeAlias = tuple[int, str, bytes, float | None, Metadata | None, int]
Ended: TypeAlias = tuple[int, int, str, bytes | None]
