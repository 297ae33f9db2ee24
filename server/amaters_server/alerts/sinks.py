"""Where alerts go: the log, the counts behind a metric, and callers that follow the admin service.

A sink neither blocks nor fails: it runs on the event loop that serves callers.
"""

import logging
from collections import Counter
from typing import Protocol

from amaters_server.alerts.events import FiredAlert, Severity
from amaters_server.alerts.rules import DEFAULT_RULES
from amaters_server.telemetry.feed import Feed

log = logging.getLogger(__name__)

KEPT_ALERTS = 256

_LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.CRITICAL: logging.ERROR,
}


class Sink(Protocol):
    """Takes alerts."""

    def report(self, alert: FiredAlert) -> None:
        """Take one; must return at once and must not raise."""
        ...


class LogSink:
    """One line an alert, under the event name `alert.fired`."""

    def report(self, alert: FiredAlert) -> None:
        """Log it."""
        facts = {
            "alert": alert.event,
            "rule": alert.rule,
            "severity": alert.severity.value,
            "key": alert.key,
            # Not as fields of the line: `node` there is the node that logs.
            "facts": dict(alert.facts),
            "reason": alert.message,
            "advice": alert.advice,
            "runbook": alert.runbook,
        }
        log.log(_LEVELS[alert.severity], "alert.fired", extra=facts)


class AlertCounts:
    """How often each rule has fired since the start; telemetry reads it."""

    def __init__(self) -> None:
        self.fired: Counter[tuple[str, str]] = Counter(
            {(rule.name, rule.severity.value): 0 for rule in DEFAULT_RULES.values()}
        )

    def report(self, alert: FiredAlert) -> None:
        """Count it."""
        self.fired[alert.rule, alert.severity.value] += 1


class FeedSink:
    """Keeps the newest alerts, for the admin service."""

    def __init__(self) -> None:
        self.alerts: Feed[FiredAlert] = Feed(KEPT_ALERTS)

    def report(self, alert: FiredAlert) -> None:
        """Keep it."""
        self.alerts.add(alert)
