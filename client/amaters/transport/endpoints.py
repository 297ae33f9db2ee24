"""Which of several servers to use next. Pure but for the connections it keeps."""

from collections.abc import Callable, Collection, Sequence

from amaters.errors import AmatersError, OverloadedError, UnavailableError
from amaters.transport.addresses import distinct_addresses
from amaters.transport.channels import ChannelOptions
from amaters.transport.endpoint import Endpoint
from amaters.transport.tls import Credentials

COOLING_SECONDS = 1.0
"""How long a server that failed is passed over while another one is not known to have failed."""

LEADERLESS_SECONDS = 3.0
"""How long a server may answer that it cannot serve until the connection is replaced: longer
than an election. Behind the address of a Service there may be a server that can."""


class Endpoints:
    """The servers of one cluster; the one that answered last is asked first."""

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        credentials: Credentials | None,
        options: ChannelOptions,
        now: Callable[[], float],
    ) -> None:
        self._credentials = credentials
        self._options = options
        self._now = now
        self._cooling_until: dict[str, float] = {}
        self._refusing_since: dict[str, float] = {}
        self._order = [self._endpoint(one) for one in distinct_addresses(addresses)]

    def __len__(self) -> int:
        return len(self._order)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every server known, the preferred one first."""
        return tuple(one.address for one in self._order)

    def all(self) -> tuple[Endpoint, ...]:
        """Every server known, the preferred one first."""
        return tuple(self._order)

    def best(self, *, passing_over: Collection[str] = ()) -> Endpoint:
        """Return the server to use now: not one of those passed over if there is another."""
        now = self._now()
        return min(
            self._order,
            key=lambda one: (
                one.address in passing_over,
                self._cooling_until.get(one.address, 0.0) > now,
            ),
        )

    def succeeded(self, endpoint: Endpoint) -> None:
        """Prefer this server from now on."""
        self._cooling_until.pop(endpoint.address, None)
        self._refusing_since.pop(endpoint.address, None)
        if self._order[0] is not endpoint and endpoint in self._order:
            self._order.remove(endpoint)
            self._order.insert(0, endpoint)

    def failed(self, endpoint: Endpoint, error: AmatersError) -> None:
        """Pass this server over for a while; reconnect when it has not served for long."""
        now = self._now()
        self._cooling_until[endpoint.address] = now + COOLING_SECONDS
        if not isinstance(error, UnavailableError) or isinstance(error, OverloadedError):
            # `Endpoint` handles a missing answer; an overloaded server needs no new connection.
            self._refusing_since.pop(endpoint.address, None)
            return
        since = self._refusing_since.setdefault(endpoint.address, now)
        if now - since >= LEADERLESS_SECONDS:
            self._refusing_since[endpoint.address] = now
            endpoint.replace(f"the server has not served for {now - since:.0f} s")

    def prefer(self, address: str) -> None:
        """Use this server next: it was named as the leader, and may be new here."""
        known = next((one for one in self._order if one.address == address), None)
        self._cooling_until.pop(address, None)
        if known is None:
            known = self._endpoint(address)
            self._order.append(known)
        self._order.remove(known)
        self._order.insert(0, known)

    async def close(self) -> None:
        """Close all connections."""
        for one in self._order:
            await one.close()

    def _endpoint(self, address: str) -> Endpoint:
        return Endpoint(address, credentials=self._credentials, options=self._options)
