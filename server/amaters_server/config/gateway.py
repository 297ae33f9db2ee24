"""The section about the REST gateway."""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, field_validator

from amaters_server.config.addresses import BindAddress
from amaters_server.config.faults import Fault
from amaters_server.config.sections import Count, NetworkSection, Positive, Section

EVERY_ORIGIN = "*"
_ORIGIN = re.compile(r"https?://[^/?#@\s,]+")


class GatewaySection(Section):
    """The REST gateway: the database over HTTP and JSON, on a port of its own."""

    enabled: bool = Field(default=False, description="Whether the gateway listens.")
    bind_address: BindAddress = Field(
        default="0.0.0.0:8080",
        description="Where HTTP clients connect; with TLS when `network.tls_enabled`, and then with "
        "the same certificate and authorities.",
    )
    cors_origins: tuple[str, ...] = Field(
        default=(),
        description='Origins whose web pages may read answers, such as `"https://app.example"`; '
        '`"*"` alone is every origin, without credentials of the browser. Empty: none.',
    )
    max_body_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = Field(
        default=8 * 1024 * 1024,
        description="Largest body of a request. What becomes of it obeys "
        "`network.max_message_bytes` too: base64 takes a third more than the bytes themselves.",
    )
    max_connections: Positive = Field(
        default=256,
        description="Connections held at most, beside `server.max_connections`; when all are taken, "
        "the one that is idle for longest makes room.",
    )
    idle_timeout_ms: Count = Field(
        default=60_000,
        description="Milliseconds between two requests after which a connection is closed.",
    )

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if EVERY_ORIGIN in origins and len(origins) > 1:
            raise ValueError('"*" is every origin: remove it, or all the others')
        for one in origins:
            if one != EVERY_ORIGIN and not _ORIGIN.fullmatch(one):
                raise ValueError(
                    f"{one!r} is no origin: write scheme, host and port, as https://app.example"
                )
        return origins


def gateway_exposure(gateway: GatewaySection, network: NetworkSection, *, asks: bool) -> str | None:
    """Return what strangers can do at the gateway; None when it keeps them out or is off."""
    if not gateway.enabled or network.require_client_cert or asks:
        return None
    return (
        f"anyone who reaches {gateway.bind_address} can read and write all data over HTTP: set "
        "auth.enabled to true, or network.require_client_cert"
    )


def gateway_faults(gateway: GatewaySection, taken: dict[str, str]) -> Iterator[Fault]:
    """Name an address that another listener has; `taken` has their keys by address."""
    if gateway.enabled and gateway.bind_address in taken:
        yield Fault(
            "gateway.bind_address",
            f"{gateway.bind_address} is {taken[gateway.bind_address]} too: choose another port",
        )
