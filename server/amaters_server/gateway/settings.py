"""What the gateway is told. Plain values; `app.from_settings` makes them."""

from dataclasses import dataclass

from amaters_server.gateway.cors import CorsPolicy

ROOM_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """How the gateway listens, and what one request may take."""

    address: str
    cors: CorsPolicy
    api_key_header: str = "x-api-key"
    """In lower case."""
    max_body_bytes: int = 8 * 1024 * 1024
    max_message_bytes: int = 4 * 1024 * 1024
    """Of the query that a request is turned into, as for gRPC."""
    max_connections: int = 256
    max_connections_per_client: int = 10
    """Of one remote IP address; 0 is no limit."""
    max_descriptor: int = 0
    """No connection is taken that gets this descriptor or a higher one; 0 is no limit."""
    handshake_seconds: float = 30.0
    """For a TLS handshake, and for the head of a connection's first request."""
    request_seconds: float = 30.0
    """For the body of a request to arrive."""
    idle_seconds: float = 60.0
    """Between two requests of a connection."""
    write_seconds: float = 60.0
    """For a client to take anything of its answer."""

    @property
    def room_bytes(self) -> int:
        """What the large bodies of all requests may take together."""
        return max(ROOM_BYTES, 4 * self.max_body_bytes)
