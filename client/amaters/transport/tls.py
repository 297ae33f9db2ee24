"""The client's side of TLS: the authorities it trusts, and its own certificate.

`TlsFiles` names files and reads them when a channel is made, so a new client picks up rotated
certificates; `TlsMaterial` holds the bytes, for callers that keep them elsewhere (a Secret).
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from amaters.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """Certificates and key in PEM; never printed."""

    ca: bytes | None = field(default=None, repr=False)
    """The authorities to trust; None means those of the system."""
    certificate: bytes | None = field(default=None, repr=False)
    """The client's own certificate and the chain above it, for servers that ask for one."""
    key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigurationError(
                "a client certificate needs its key, and a key its certificate: give both or none"
            )
        for what, pem in (("CA", self.ca), ("client", self.certificate)):
            if pem is not None and b"-----BEGIN CERTIFICATE-----" not in pem:
                raise ConfigurationError(
                    f"the {what} certificate is not PEM: it must hold BEGIN CERTIFICATE"
                )

    def load(self) -> "TlsMaterial":
        """Return itself: the bytes are there already."""
        return self


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files, read each time a channel is made."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def load(self) -> TlsMaterial:
        """Read and check the files; ConfigurationError names the one that is wrong."""
        self._check_pair()
        return TlsMaterial(
            ca=_read(self.ca, "CA certificate"),
            certificate=_read(self.certificate, "client certificate"),
            key=_read(self.key, "client key"),
        )

    def _check_pair(self) -> None:
        """Refuse a key that does not belong to its certificate; gRPC would only report "failed"."""
        if self.certificate is None or self.key is None:
            return
        _read(self.certificate, "client certificate")
        _read(self.key, "client key")
        try:
            ssl.create_default_context().load_cert_chain(self.certificate, self.key)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"client certificate {self.certificate} and key {self.key} do not go together "
                f"({error.reason or error}): check that both come from the same issue"
            ) from error


def _read(path: Path | None, what: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the {what} {path} ({error.strerror}): correct the path or its permissions"
        ) from error


Credentials = TlsFiles | TlsMaterial
"""TLS of a client; None in its place means plain text."""
