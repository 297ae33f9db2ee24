"""The nodes through the project's own client."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from amaters.admin.client import AdminClient
from amaters.errors import UnavailableError
from amaters.transport.tls import TlsMaterial

from amaters_operator.database.certificates import served_serial
from amaters_operator.database.port import Admin, NodeAddress


class AmatersDatabase:
    """`Database` over gRPC. Each use opens a connection, because certificates change.

    None is opened unless `may_change` returns true at that moment.
    """

    def __init__(self, may_change: Callable[[], bool] = lambda: True) -> None:
        self._may_change = may_change

    def admin(
        self, node: NodeAddress, tls: TlsMaterial | None, *, timeout: timedelta
    ) -> AbstractAsyncContextManager[Admin]:
        """Return the node's admin service."""
        if not self._may_change():
            raise UnavailableError(
                "the operator does not hold its Lease: it sends nothing to nodes"
            )
        return AdminClient.connect(
            _joined(node.ip, node.peer_port),
            credentials=tls,
            server_name=node.host if tls is not None else "",
            timeout=timeout,
        )

    async def served_serials(
        self, node: NodeAddress, tls: TlsMaterial, *, timeout: timedelta
    ) -> tuple[str, ...] | None:
        """Return the serials that the client and the peer listener show, or None."""
        shown = await asyncio.gather(
            *(
                served_serial((node.ip, port), node.host, tls, timeout=timeout)
                for port in (node.client_port, node.peer_port)
            )
        )
        serials = tuple(one for one in shown if one is not None)
        return serials if len(serials) == len(shown) else None


def _joined(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
