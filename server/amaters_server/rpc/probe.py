"""Asking a running server whether it serves, as `amaters-server status --addr` does."""

from pathlib import Path

import grpc
from amaters.wire.aql_pb2 import HealthCheckRequest, HealthStatus
from amaters.wire.aql_pb2_grpc import AqlServiceStub

from amaters_server.model.errors import ConfigurationError

PROBE_SECONDS = 5.0


def probe(address: str, *, ca: Path | None, tls: bool) -> bool:
    """Return whether the server there answers that it serves."""
    with _channel(address, ca, tls=tls) as channel:
        try:
            answer = AqlServiceStub(channel).HealthCheck(
                HealthCheckRequest(), timeout=PROBE_SECONDS
            )
        except grpc.RpcError:
            return False
    return answer.status == HealthStatus.HEALTH_SERVING


def _channel(address: str, ca: Path | None, *, tls: bool) -> grpc.Channel:
    if not tls:
        return grpc.insecure_channel(address)
    try:
        trusted = None if ca is None else ca.read_bytes()
    except OSError as wrong:
        raise ConfigurationError(f"CA file {ca} cannot be read: {wrong.strerror}") from wrong
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(trusted))
