"""Who was verified, and who failed: tables of bounded size, none with a credential in it."""

import math
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address

from amaters_server.model.errors import AuthenticationError, TooManyFailuresError
from amaters_server.model.principal import Principal

MOST_PRINCIPALS = 10_000
MOST_REFUSED = 4096
REFUSED_SECONDS = 5.0
"""For so long the same credential is refused unread: tokens become valid, and keys are fetched."""
MOST_ADDRESSES = 4096
SIGNED_PER_SECOND = 100
"""Signatures that are checked for addresses over their limit, all together."""
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


class RefusedCache:
    """Why a credential was refused a moment ago, by its digest.

    A client that repeats a credential that has ended costs a look-up, and uses up nothing of what
    its address may fail.
    """

    def __init__(self, most: int = MOST_REFUSED) -> None:
        self._most = most
        self._found: dict[bytes, tuple[type[AuthenticationError], str, float]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def get(self, digest: bytes, now: float) -> AuthenticationError | None:
        """Return the error of the last attempt, made anew. `now` is monotonic."""
        kind, text, until = self._found.get(digest, (AuthenticationError, "", now))
        return kind(text) if now < until else None

    def put(self, digest: bytes, error: AuthenticationError, now: float) -> None:
        """Remember an attempt; the one made longest ago goes when the table is full."""
        self._found.pop(digest, None)
        if len(self._found) >= self._most:
            del self._found[next(iter(self._found))]
        self._found[digest] = (type(error), str(error), now + REFUSED_SECONDS)

    def clear(self) -> None:
        """Have all credentials verified again."""
        self._found.clear()


class FailureLimit:
    """Failed logins by address: so many at once, and one more as each part of a minute passes.

    Callers share addresses (a proxy, a node of Kubernetes), so an attacker must not lock out the
    others. Who was verified before is not asked here. A key can be guessed, so new ones have to
    wait; a signature cannot, so beyond the limit it is still checked, at a bounded cost.
    """

    def __init__(self, per_minute: int, most: int = MOST_ADDRESSES) -> None:
        self.per_minute = per_minute
        self._most = most
        self._left: dict[Hashable, tuple[float, float]] = {}
        """Failures left, and when that was so; the address that failed longest ago comes first."""
        self._signed = (float(SIGNED_PER_SECOND), 0.0)
        """Signatures left, and when that was so."""

    def __len__(self) -> int:
        return len(self._left)

    def require(self, address: str, now: float, *, signed: bool) -> None:
        """TooManyFailuresError if the next attempt has to wait. `now` is monotonic."""
        left = self._left_of(_network(address), now)
        if left < 1 and not (signed and self._take_signed(now)):
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

    def _take_signed(self, now: float) -> bool:
        left, at = self._signed
        left = min(SIGNED_PER_SECOND, left + (now - at) * SIGNED_PER_SECOND)
        self._signed = (max(left - 1, 0), now) if left >= 1 else (left, now)
        return left >= 1

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
