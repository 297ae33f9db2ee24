"""The published SDK's errors. Each is also the standard class that its code really raised."""

import builtins
from collections.abc import Iterator
from contextlib import contextmanager

from amaters.errors import (
    AmatersError,
    ConfigurationError,
    DeadlineExceededError,
    InvalidRequestError,
    UnavailableError,
    UnreachableError,
)


class AmateRSError(RuntimeError):
    """Any failure of an operation; `code` is this project's stable name for it."""

    code = "error"


class ConnectionError(AmateRSError, builtins.ConnectionError):  # noqa: A001
    """No server could be reached, or none serves at the moment."""


class TimeoutError(AmateRSError, builtins.TimeoutError):  # noqa: A001
    """The time given to the operation ran out."""


class InvalidArgumentError(AmateRSError, ValueError):
    """The operation is invalid."""


TABLE: tuple[tuple[type[AmatersError], type[AmateRSError]], ...] = (
    (UnreachableError, ConnectionError),
    (UnavailableError, ConnectionError),
    (DeadlineExceededError, TimeoutError),
    (InvalidRequestError, InvalidArgumentError),
    (ConfigurationError, InvalidArgumentError),
    (AmatersError, AmateRSError),
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise this client's errors under the published names, chained to the original."""
    try:
        yield
    except AmatersError as error:
        kind = next(published for own, published in TABLE if isinstance(error, own))
        published_error = kind(str(error))
        published_error.code = error.code
        raise published_error from error
