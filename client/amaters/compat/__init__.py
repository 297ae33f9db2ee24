"""The names of the published Python SDK, over this client: programs written for it run unchanged.

    from amaters.compat import AmateRSClient

    async with await AmateRSClient.connect("http://localhost:7878") as client:
        await client.set("users", "ada", b"countess")

Where the published documents and the published code disagree, the code counts:
ranges are half-open, and results that are called streams are complete before they are iterated.
For results larger than memory, and for TLS, use `amaters.AmatersClient`.
"""

from amaters.compat.client import AmateRSClient
from amaters.compat.config import ClientConfig, RetryConfig
from amaters.compat.errors import AmateRSError, ConnectionError, TimeoutError  # noqa: A004
from amaters.compat.results import BatchResult, BatchStreamIterator, Key, ScanResult, StreamIterator
from amaters.version import __version__

__all__ = [
    "AmateRSClient",
    "AmateRSError",
    "BatchResult",
    "BatchStreamIterator",
    "ClientConfig",
    "ConnectionError",
    "Key",
    "RetryConfig",
    "ScanResult",
    "StreamIterator",
    "TimeoutError",
    "__version__",
]
