"""Addresses in the configuration: `ip:port` to listen on, `host:port` to connect to."""

import ipaddress
from collections.abc import Callable
from typing import Annotated, NamedTuple

from pydantic import AfterValidator
from typing_extensions import override

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 Named, not bound to.
"""The addresses that mean every address of a host, in IPv4 and in IPv6."""

MAX_PORT = 65_535
HOST_PORT_ADVICE = "write one such as node-1:7879"
MAX_ID = 2**63 - 1
MAX_NAME = 253
"""Characters: what DNS, and so Kubernetes, allows a name."""


class HostPort(NamedTuple):
    """One end of a connection."""

    host: str
    port: int

    @override
    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Peer(NamedTuple):
    """One initial member: its id and where its internal listener is reached."""

    id: int
    address: str


def host_port(text: str) -> HostPort:
    """Split `host:port` or `[v6]:port`; ValueError says what is wrong with it."""
    if len(text) > MAX_NAME + len("[]:65535"):
        raise ValueError(f"{text[:MAX_NAME]!r} and more is no host:port: {HOST_PORT_ADVICE}")
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > MAX_PORT:
        raise ValueError(f"{text!r} is not host:port: {HOST_PORT_ADVICE}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: write an IPv6 address in brackets, [host]:port")
    if not host or any(letter.isspace() or not letter.isprintable() for letter in host):
        raise ValueError(f"{text!r} is not host:port: {HOST_PORT_ADVICE}")
    return HostPort(host, int(port))


def reachable(text: str) -> HostPort:
    """Split an address that others connect to; ValueError when that is impossible."""
    address = host_port(text)
    if address.port == 0:
        raise ValueError(f"{text!r}: port 0 cannot be connected to: write another port")
    if address.host in EVERYWHERE:
        raise ValueError(
            f"{text!r} means every address of this machine: write the one that others reach it at"
        )
    return address


def beside(entry: HostPort, *, is_here: Callable[[str], bool]) -> HostPort:
    """Return the address to listen on for an address that others connect to.

    `is_here` says whether an IP address is one of this host.
    """
    try:
        version = ipaddress.ip_address(entry.host).version
    except ValueError:
        version = 4  # A name may not resolve yet; whatever it resolves to leads here.
    else:
        if is_here(entry.host):
            return entry
    return entry._replace(host=EVERYWHERE[version == 6])  # noqa: PLR2004


def peer(text: str) -> Peer:
    """Split `id:host:port`; ValueError says what is wrong with it."""
    number, _, address = text.partition(":")
    if not number.isdecimal() or int(number) == 0:
        raise ValueError(
            f"Invalid peer: '{text}' is not \"id:host:port\" with an id above 0: write one such as "
            "1:node-1:7879"
        )
    if int(number) > MAX_ID:
        raise ValueError(f"Invalid peer: the id of '{text}' is above {MAX_ID}: use a smaller one")
    try:
        return Peer(int(number), str(reachable(address)))
    except ValueError as wrong:
        raise ValueError(f"Invalid peer: {wrong}") from None


def member_name(text: str) -> str:
    """Return a name that is safe in tables and logs; ValueError otherwise."""
    if len(text) > MAX_NAME or not text.isprintable():
        raise ValueError(
            f"{text[:MAX_NAME]!r} is not a valid name: use up to {MAX_NAME} visible characters"
        )
    return text


def _literal(text: str, *, named: str) -> str:
    try:
        ipaddress.ip_address(host_port(text).host)
    except ValueError:
        raise ValueError(
            f"{named}: '{text}' is not ip:port: write one such as 0.0.0.0:7878"
        ) from None
    return text


def _bind_address(text: str) -> str:
    return _literal(text, named="Invalid bind address")


def _bind_address_or_default(text: str) -> str:
    return text and _bind_address(text)


def _metrics_address(text: str) -> str:
    return _literal(text, named="Invalid metrics address")


def _reachable(text: str) -> str:
    if text:
        try:
            reachable(text)
        except ValueError as wrong:
            raise ValueError(f"Invalid address: {wrong}") from None
    return text


def _peer_text(text: str) -> str:
    peer(text)
    return text


BindAddress = Annotated[str, AfterValidator(_bind_address)]
"""A literal `ip:port` to listen on."""
BindAddressOrDefault = Annotated[str, AfterValidator(_bind_address_or_default)]
"""A literal `ip:port` to listen on; may be empty."""
MetricsAddress = Annotated[str, AfterValidator(_metrics_address)]
"""A literal `ip:port` for health and metrics."""
ReachableAddress = Annotated[str, AfterValidator(_reachable)]
"""`host:port` at which others reach this node; may be empty."""
MemberName = Annotated[str, AfterValidator(member_name)]
"""The display name of a node; may be empty."""
PeerText = Annotated[str, AfterValidator(_peer_text)]
"""`id:host:port` of an initial member."""
