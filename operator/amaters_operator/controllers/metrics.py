"""What the operator counts of itself."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The operator's own metrics, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.passes = Histogram(
            "amaters_operator_reconcile_seconds",
            "Duration of a pass over one object.",
            ["controller"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.errors = Counter(
            "amaters_operator_reconcile_errors_total",
            "Passes that ended in an error, by its kind.",
            ["controller", "reason"],
            registry=registry,
        )
        self.last = Gauge(
            "amaters_operator_last_reconcile_timestamp_seconds",
            "When a pass last ended well.",
            ["controller"],
            registry=registry,
        )
        self.objects = Gauge(
            "amaters_operator_objects",
            "Objects that are being looked after.",
            ["controller"],
            registry=registry,
        )
        self.moves = Counter(
            "amaters_operator_moves_total",
            "Moves made: pods replaced, members added, leadership handed over and so on.",
            ["move"],
            registry=registry,
        )
        self.leading = Gauge(
            "amaters_operator_leading",
            "1 while this replica holds the Lease and works.",
            registry=registry,
        )
