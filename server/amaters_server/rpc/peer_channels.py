"""gRPC channels between members: options, metadata, and errors as Python knows them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
import grpc.aio

from amaters_server.node.ports import PeerIdentity
from amaters_server.rpc.peer_credentials import PeerCredentials, for_channel
from amaters_server.wire import peer_pb2

Metadata = tuple[tuple[str, str], ...]

_PING_MS = 3000
_OPTIONS: Sequence[tuple[str, int | str]] = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_time_ms", _PING_MS),
    ("grpc.keepalive_timeout_ms", _PING_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
)


def options() -> list[tuple[str, int | str]]:
    """Return the options of both sides of an internal connection."""
    return list(_OPTIONS)


def open_channel(address: str, credentials: PeerCredentials | None) -> grpc.aio.Channel:
    """Open a channel of its own: the name is resolved anew, nothing is shared with others."""
    if credentials is None:
        return grpc.aio.insecure_channel(address, options())
    return grpc.aio.secure_channel(address, for_channel(credentials), options())


def introduction(own: PeerIdentity, to: int) -> Metadata:
    """Say on a call who is calling whom."""
    return (
        ("amaters-cluster", own.cluster_id),
        ("amaters-from", str(own.node_id)),
        ("amaters-to", str(to)),
        ("amaters-version", ".".join(str(part) for part in own.version)),
    )


def introduced(metadata: Sequence[tuple[str, str | bytes]] | None) -> peer_pb2.HandshakeRequest:
    """Read an introduction; what is missing or malformed is left empty."""
    said = {key: str(value) for key, value in metadata or ()}
    parts = said.get("amaters-version", "").split(".")
    numbers = [int(part) if part.isdigit() else 0 for part in parts] + [0, 0, 0]
    request = peer_pb2.HandshakeRequest(
        cluster_id=said.get("amaters-cluster", ""),
        to=_number(said.get("amaters-to", "")),
        version_major=numbers[0],
        version_minor=numbers[1],
        version_patch=numbers[2],
    )
    setattr(request, "from", _number(said.get("amaters-from", "")))
    return request


@asynccontextmanager
async def translated(what: str) -> AsyncIterator[None]:
    """Turn gRPC's errors into ConnectionError and TimeoutError."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        code = error.code()
        text = f"{what}: {code.name.lower().replace('_', ' ')}: {(error.details() or '')[:256]}"
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise TimeoutError(text) from error
        raise ConnectionError(text) from error


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
