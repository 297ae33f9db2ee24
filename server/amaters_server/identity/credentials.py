"""The credentials of a call. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from amaters_server.model.errors import AuthenticationError

LONGEST_CREDENTIAL = 8 * 1024
"""Characters of a token or key; more is refused unread."""

AUTHORIZATION = "authorization"
_SCHEME = "bearer "


Metadata: TypeAlias = Sequence[tuple[str, str | bytes]] | None
"""Of a call; names are in lower case."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """At most one of token and key, and the certificate of the connection."""

    address: str
    """Of the caller, without port."""
    token: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    """DER; the listener has verified its chain, and that the caller has its key."""

    def digest(self) -> bytes:
        """Return what stands for the credential in a table; empty if there is none."""
        if self.token:
            return hashlib.sha256(b"t" + self.token.encode()).digest()
        if self.api_key:
            return hashlib.sha256(b"k" + self.api_key.encode()).digest()
        return hashlib.sha256(b"c" + self.certificate).digest() if self.certificate else b""


def credentials_of(
    metadata: Metadata,
    *,
    address: str,
    api_key_header: str,
    certificate: bytes = b"",
) -> Credentials:
    """Take them from a call's metadata; AuthenticationError if they are ambiguous or malformed.

    `api_key_header` is in lower case.
    """
    token = api_key = ""
    for name, value in metadata or ():
        if name not in {AUTHORIZATION, api_key_header}:
            continue
        if token or api_key:
            raise AuthenticationError(
                "Invalid credentials: send one of token and API key, and that once"
            )
        text = _printable(name, value)
        if name == AUTHORIZATION:
            token = _bearer(text)
        else:
            api_key = text
    return Credentials(address, token, api_key, certificate)


def _printable(name: str, value: str | bytes) -> str:
    if isinstance(value, bytes) or not (value.isascii() and value.isprintable()):
        raise AuthenticationError(f"Invalid credentials: {name} is not printable ASCII")
    if not 0 < len(value) <= LONGEST_CREDENTIAL:
        raise AuthenticationError(
            f"Invalid credentials: {name} has {len(value)} characters, 1 to {LONGEST_CREDENTIAL} "
            "are allowed"
        )
    return value


def _bearer(text: str) -> str:
    scheme, token = text[: len(_SCHEME)], text[len(_SCHEME) :].strip()
    if scheme.lower() != _SCHEME or not token:
        raise AuthenticationError(
            "Invalid credentials: authorization has another scheme: send `Bearer TOKEN`"
        )
    return token
