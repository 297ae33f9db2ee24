"""The batching gRPC listener (see transport.pyi for the promises)."""

from typing import TypeAlias

from amaters_native._native import Connection, Listener, ListenerStats, TlsIdentity

__all__ = ["Call", "Connection", "Listener", "ListenerStats", "Metadata", "TlsIdentity"]

Metadata: TypeAlias = list[tuple[str, str | bytes]]
Call: TypeAlias = tuple[int, str, bytes, float | None, Metadata | None, int]
