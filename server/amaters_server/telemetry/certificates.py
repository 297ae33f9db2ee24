"""What is reported of a certificate that is being served."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """One certificate and the listener that serves it."""

    listener: str
    """`client` or `peer`."""
    serial: str
    """Lower-case hexadecimal, no separators, no leading zeros."""
    not_after_unix: int
    subject: str
