"""The last figures of a server, which no scraper comes for any more."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """Counts since the start of the process."""

    uptime_seconds: float
    requests: int
    failed: int
    query_seconds: float
    """Of all operations together."""
    bytes_received: int
    bytes_sent: int

    def success_rate(self) -> float:
        """Return the share of requests that succeeded; 0.0 without any, as published."""
        return (self.requests - self.failed) / self.requests if self.requests else 0.0

    def avg_query_time_us(self) -> float:
        """Return the mean time of an operation in microseconds; 0.0 without any."""
        return self.query_seconds / self.requests * 1e6 if self.requests else 0.0

    def facts(self) -> dict[str, object]:
        """Return the fields for a line of the log."""
        numbers = {name: round(one, 3) for name, one in asdict(self).items()}
        return {**numbers, "success_rate": round(self.success_rate(), 6)}

    def format_human(self) -> str:
        """Return one line for people."""
        return (
            f"{self.requests} requests in {self.uptime_seconds:.0f} s, "
            f"{self.success_rate():.2%} of them successful, "
            f"{self.avg_query_time_us():.0f} us each, "
            f"{self.bytes_received} bytes in, {self.bytes_sent} bytes out"
        )
