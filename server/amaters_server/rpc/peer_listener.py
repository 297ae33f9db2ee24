"""The internal listener: peers and administration, on an address of its own, over grpc.aio."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import grpc.aio

from amaters_server.model.errors import ConfigurationError
from amaters_server.rpc.peer_channels import options
from amaters_server.rpc.peer_credentials import (
    PeerCredentials,
    ProvideCredentials,
    for_server,
)

log = logging.getLogger(__name__)

CHECK_CREDENTIALS_SECONDS = 1.0

Register = Callable[[grpc.aio.Server], None]


class InternalListener:
    """A gRPC server that shows the newest certificate to every new connection."""

    def __init__(
        self,
        address: str,
        credentials: ProvideCredentials,
        register: Sequence[Register],
        recycle: Callable[[], None],
    ) -> None:
        """`recycle` ends the open peer streams; it is called after the certificate changed."""
        self._address = address
        self._credentials = credentials
        self._recycle = recycle
        self._register = register
        self._server: grpc.aio.Server | None = None
        self._shown: PeerCredentials | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.port = 0
        """The port bound, once started."""

    async def start(self) -> None:
        """Bind and begin to serve; ConfigurationError when the address cannot be had."""
        server = grpc.aio.server(options=options())
        for register in self._register:
            register(server)
        self._shown = self._credentials()
        tls = for_server(self._credentials)
        try:
            if tls is None:
                self.port = server.add_insecure_port(self._address)
            else:
                self.port = server.add_secure_port(self._address, tls)
        except RuntimeError as error:
            raise ConfigurationError(
                f"cannot listen on {self._address}: is another process using it? ({error})"
            ) from error
        await server.start()
        self._server = server
        self._check_credentials()

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, give those under way a while, then close."""
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            await self._server.stop(grace_seconds)
            self._server = None

    def _check_credentials(self) -> None:
        now = self._credentials()
        if now != self._shown:
            self._shown = now
            log.info("peer.certificate_replaced")
            self._recycle()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(CHECK_CREDENTIALS_SECONDS, self._check_credentials)
