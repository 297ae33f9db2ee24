"""The published SDK's configuration objects, and the options of this client they become."""

from datetime import timedelta
from typing import Self, cast

from typing_extensions import override

from amaters.compat.errors import InvalidArgumentError
from amaters.transport.deadlines import LONGEST
from amaters.values import ClientOptions

LARGEST = 2**63
"""Of any number here, and of those that were published."""


def _require(name: str, number: object, *, above_zero: bool) -> None:
    """Refuse what is not a number that a clock or a counter can hold."""
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
    # Not a number lies between no two others.
    if is_number and 0 <= cast("float", number) <= LARGEST and (number or not above_zero):
        return
    least = "above zero" if above_zero else "of zero or more"
    raise InvalidArgumentError(f"{name} is {number!r:.40}: give a number {least}")


def _span(*, seconds: float = 0, milliseconds: float = 0) -> timedelta:
    """Return that time; beyond a year it makes no difference how much."""
    longest = LONGEST.total_seconds()
    return timedelta(seconds=min(seconds + milliseconds / 1000, longest))


class RetryConfig:
    """How often a failed operation is tried again, and how long is waited first."""

    def __init__(self, max_retries: int = 3, initial_backoff_ms: int = 100) -> None:
        _require("max_retries", max_retries, above_zero=False)
        _require("initial_backoff_ms", initial_backoff_ms, above_zero=False)
        self._max_retries = max_retries
        self._initial_backoff_ms = initial_backoff_ms

    @staticmethod
    def no_retry() -> "RetryConfig":
        """Return a configuration that never tries again."""
        return RetryConfig(max_retries=0)

    @property
    def max_retries(self) -> int:
        """How often a failed operation is tried again."""
        return self._max_retries

    @property
    def initial_backoff_ms(self) -> int:
        """The longest first pause; doubled for each further one."""
        return self._initial_backoff_ms

    @override
    def __repr__(self) -> str:
        return (
            f"RetryConfig(max_retries={self._max_retries}, "
            f"initial_backoff_ms={self._initial_backoff_ms})"
        )


class ClientConfig:
    """Where the server is and how long to wait for it; times are whole seconds."""

    def __init__(
        self,
        server_addr: str,
        connect_timeout: int = 10,
        request_timeout: int = 30,
        max_connections: int = 10,
    ) -> None:
        _require("connect_timeout", connect_timeout, above_zero=True)
        _require("request_timeout", request_timeout, above_zero=True)
        self._server_addr = server_addr
        self._connect_timeout = connect_timeout
        self._request_timeout = request_timeout
        self._max_connections = max_connections
        self._retry = RetryConfig()

    def with_retry_config(self, config: RetryConfig) -> Self:
        """Set how operations are retried; returns this same object."""
        self._retry = config
        return self

    @property
    def server_addr(self) -> str:
        """The server's address, or several with commas between."""
        return self._server_addr

    @property
    def connect_timeout(self) -> int:
        """Seconds a connection may take."""
        return self._connect_timeout

    @property
    def request_timeout(self) -> int:
        """Seconds an operation may take, its retries included."""
        return self._request_timeout

    @property
    def max_connections(self) -> int:
        """Kept as it was given: one connection to a server carries any number of operations."""
        return self._max_connections

    def as_options(self) -> ClientOptions:
        """Return the options of the client below."""
        return ClientOptions(
            connect_timeout=_span(seconds=self._connect_timeout),
            request_timeout=_span(seconds=self._request_timeout),
            backoff_first=_span(milliseconds=self._retry.initial_backoff_ms),
            max_attempts=self._retry.max_retries + 1,
        )

    @override
    def __repr__(self) -> str:
        return (
            f"ClientConfig(server_addr={self._server_addr!r}, "
            f"connect_timeout={self._connect_timeout}, request_timeout={self._request_timeout}, "
            f"max_connections={self._max_connections})"
        )
