"""Who was verified, and who failed: two tables of bounded size, neither with a credential in it."""

import math
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address

from amaters_server.model.errors import TooManyFailuresError
from amaters_server.model.principal import Principal

MOST_PRINCIPALS = 10_000
MOST_ADDRESSES = 4096
NETWORK_BITS = 64
"""Of an IPv6 address: one host has all addresses of such a network."""


class PrincipalCache:
    """Principals by the digest of their credential; each until its credential ends."""

    def __init__(self, most: int = MOST_PRINCIPALS) -> None:
        self._most = most
        self._found: dict[bytes, Principal] = {}

    def __len__(self) -> int:
        return len(self._found)

    def get(self, digest: bytes, now: float) -> Principal | None:
        """Return whom the credential was verified for, if it still counts."""
        principal = self._found.get(digest)
        if principal is not None and principal.expired(now):
            del self._found[digest]
            return None
        return principal

    def put(self, digest: bytes, principal: Principal) -> None:
        """Remember it; the one verified longest ago goes when the table is full."""
        self._found.pop(digest, None)
        if len(self._found) >= self._most:
            del self._found[next(iter(self._found))]
        self._found[digest] = principal

    def clear(self) -> None:
        """Have all credentials verified again."""
        self._found.clear()


class FailureLimit:
    """Failed logins by address: so many at once, and one more as each part of a minute passes.

    What was verified before is not asked here, so that callers who share an address with an
    attacker (a proxy, a node of Kubernetes) stay served.
    """

    def __init__(self, per_minute: int, most: int = MOST_ADDRESSES) -> None:
        self.per_minute = per_minute
        self._most = most
        self._left: dict[Hashable, tuple[float, float]] = {}
        """Failures left, and when that was so; the address that failed longest ago comes first."""

    def __len__(self) -> int:
        return len(self._left)

    def require(self, address: str, now: float) -> None:
        """TooManyFailuresError if the next attempt has to wait. `now` is monotonic."""
        left = self._left_of(_network(address), now)
        if left < 1:
            wait = math.ceil((1 - left) * 60 / self.per_minute)
            raise TooManyFailuresError(address=address, retry_after_seconds=wait)

    def failed(self, address: str, now: float) -> None:
        """Count a failure; the address that failed longest ago goes when the table is full."""
        network = _network(address)
        left = self._left_of(network, now)
        self._left.pop(network, None)
        if len(self._left) >= self._most:
            del self._left[next(iter(self._left))]
        self._left[network] = (max(left - 1, 0), now)

    def _left_of(self, network: Hashable, now: float) -> float:
        left, at = self._left.get(network, (float(self.per_minute), now))
        return min(float(self.per_minute), left + (now - at) * self.per_minute / 60)


def _network(address: str) -> Hashable:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        mapped = found.ipv4_mapped
        return mapped or int(found) >> (128 - NETWORK_BITS)
    return found
