"""Everything one pass found out, in the shape that a status is made from. Pure values."""

from dataclasses import dataclass
from datetime import datetime

from amaters_operator.api.status import BootstrapStatus
from amaters_operator.decisions.certificates import Verdict
from amaters_operator.decisions.moves import Stuck
from amaters_operator.decisions.plan import Plan
from amaters_operator.decisions.seen import Seen


@dataclass(frozen=True, slots=True)
class Certificates:
    """What is known of the certificates in this pass."""

    serial: str = ""
    not_after: datetime | None = None
    verdict: Verdict | None = None
    problem: str = ""
    """Why the Secret cannot be used, or why a node refuses what it holds."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything a status is made of."""

    seen: Seen
    plan: Plan
    bootstrap: BootstrapStatus
    stuck: Stuck | None = None
    certificates: Certificates | None = None
    """None when the cluster uses no TLS."""
    problem: str = ""
    """What kept the operator from acting in this pass."""
    pods: int = 0
    """Pods that the StatefulSet is to run from now on."""
    reloading: str = ""
    """Which nodes have yet to take over the newest configuration file; empty when all have."""
