"""What a node shows other members, and whom it believes; mutual TLS or none at all."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """A certificate chain, its key, and the CA that every member's certificate comes from."""

    certificate: bytes
    key: bytes = field(repr=False)
    ca: bytes = b""

    @property
    def require_client_cert(self) -> bool:
        """Whether the internal listener demands certificates: whenever it can check them."""
        return bool(self.ca)


ProvideCredentials = Callable[[], PeerCredentials | None]
"""Returns what is valid now; asked for every new connection. None: no TLS inside the cluster."""
