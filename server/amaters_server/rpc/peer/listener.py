"""The internal listener: peers and administration, on an address of its own."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import TypeAlias

from amaters_server.model.errors import ConfigurationError
from amaters_server.rpc.peer.identities import Connection
from amaters_server.rpc.transport.calls import Service
from amaters_server.rpc.transport.channels import PING_SECONDS
from amaters_server.rpc.transport.credentials import PeerCredentials, ProvideCredentials
from amaters_server.rpc.transport.listener import GrpcListener, ListenerSettings
from amaters_server.rpc.transport.tasks import TaskScope

log = logging.getLogger(__name__)

CHECK_CREDENTIALS_SECONDS = 1.0
HANDSHAKE_SECONDS = 10.0
MESSAGE_SECONDS = 120.0
"""Longer than clients get: a full frame of log entries must pass over a slow link."""
LARGEST_MESSAGE = 64 * 1024 * 1024
"""At least; twice the largest request of a client when that is more."""
WINDOW_BYTES = 1024 * 1024
"""Larger than that of clients: log entries must pass quickly, and connections are few."""
MAX_CONNECTIONS = 512
MAX_CONNECTIONS_PER_HOST = 128
"""Of one IP address, so that no stranger takes the places of members; these need a few each."""

Offered: TypeAlias = Callable[[TaskScope], Service]
"""Makes a service whose calls under way belong to the scope."""


class InternalListener:
    """A gRPC server that shows the newest certificate to every new connection."""

    def __init__(
        self,
        address: str,
        credentials: ProvideCredentials,
        offered: Sequence[Offered],
        replaced: Sequence[Callable[[], None]] = (),
        *,
        max_descriptor: int = 0,
        largest_request: int = 0,
    ) -> None:
        """Call what is in `replaced` once new connections are shown another certificate.

        No connection is taken with the descriptor `max_descriptor` or a higher one; 0 is no limit.
        A log entry is as large as `largest_request`, the largest one of a client.
        """
        self._address = address
        self._credentials = credentials
        self._offered = offered
        self._replaced = replaced
        self._max_descriptor = max_descriptor
        self._largest = max(LARGEST_MESSAGE, 2 * largest_request)
        self._tasks = TaskScope()
        self._listener: GrpcListener | None = None
        self._shown: PeerCredentials | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.port = 0
        """The port bound, once started."""

    async def start(self) -> None:
        """Bind and begin to serve; ConfigurationError when the address cannot be had."""
        self._shown = self._credentials()
        service = reduce(or_, (offered(self._tasks) for offered in self._offered), Service())
        settings = ListenerSettings(
            self._address,
            max_message_bytes=self._largest,
            max_connections=MAX_CONNECTIONS,
            max_connections_per_client=MAX_CONNECTIONS_PER_HOST,
            max_descriptor=self._max_descriptor,
            keepalive_seconds=PING_SECONDS,
            keepalive_answer_seconds=PING_SECONDS,
            handshake_seconds=HANDSHAKE_SECONDS,
            message_seconds=MESSAGE_SECONDS,
            write_seconds=MESSAGE_SECONDS,
            stream_window_bytes=WINDOW_BYTES,
            room_bytes=self._largest,
            tls=self._shown,
        )
        listener = GrpcListener(settings, service)
        await listener.start()
        self._listener, self.port = listener, listener.port
        self._check_credentials()

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, give those under way a while, then close."""
        if self._timer is not None:
            self._timer.cancel()
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.stop(grace_seconds)
        await self._tasks.close()

    def connection(self, connection_id: int) -> Connection | None:
        """Return where a call came from; None when the connection has ended."""
        return None if self._listener is None else self._listener.connection(connection_id)

    def _check_credentials(self) -> None:
        now = self._credentials()
        if now is not None and now != self._shown:
            self._shown = now
            self._replace(now)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(CHECK_CREDENTIALS_SECONDS, self._check_credentials)

    def _replace(self, now: PeerCredentials) -> None:
        try:
            if self._listener is not None:
                self._listener.replace_tls(now)
        except ConfigurationError as wrong:
            log.warning("peer.certificate_refused", extra={"error": str(wrong)})
            return
        log.info("peer.certificate_replaced")
        for replaced in self._replaced:
            replaced()
