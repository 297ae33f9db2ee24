"""Opening the door to OpenTelemetry, which is an extra: it may be absent."""

from types import ModuleType

from amaters_server.model.errors import ConfigurationError
from amaters_server.telemetry.tracing.spans import Tracing, TracingSettings


def open_tracing(settings: TracingSettings) -> Tracing:
    """Return a tracer; ConfigurationError when the packages for it are not installed."""
    tracing: Tracing = _door().OtelTracing(settings)
    return tracing


def require_packages() -> None:
    """Raise ConfigurationError when the packages for tracing are not installed."""
    _door()


def _door() -> ModuleType:
    try:
        # A fifth of a second, and 20 MB, that a node without traces does not spend.
        from amaters_server.telemetry.tracing import otel  # noqa: PLC0415
    except ImportError as missing:
        raise ConfigurationError(
            "telemetry.tracing.enabled: the packages of OpenTelemetry are not installed: install "
            f"amaters with the extra `otel`, or switch tracing off ({missing})"
        ) from missing
    return otel
