"""Addresses as people write them: HOST:PORT, perhaps with a scheme, perhaps several. Pure."""

from collections.abc import Sequence

from amaters.errors import ConfigurationError


def checked_address(address: str) -> str:
    """Return HOST:PORT without a scheme; ConfigurationError says what is wrong with it."""
    bare = address.strip().removeprefix("http://").removeprefix("https://").rstrip("/")
    if "@" in bare:
        raise ConfigurationError(
            "an address holds no user and no password: write HOST:PORT, for example localhost:7878"
        )
    host, colon, port = bare.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) <= 65535:  # noqa: PLR2004
        raise ConfigurationError(
            f"{address!r} is not an address: write HOST:PORT, for example localhost:7878"
        )
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ConfigurationError(
            f"{address!r} is not an address: write an IPv6 host in brackets, for example [::1]:7878"
        )
    return bare


def distinct_addresses(addresses: str | Sequence[str]) -> tuple[str, ...]:
    """Split "a:1,b:2" or take several; drop repetitions, keep schemes, refuse the rest."""
    named = addresses.split(",") if isinstance(addresses, str) else addresses
    found: dict[str, str] = {}
    for one in named:
        found.setdefault(checked_address(one), one.strip())
    if not found:
        raise ConfigurationError("no address given: name at least one server as HOST:PORT")
    return tuple(found.values())
