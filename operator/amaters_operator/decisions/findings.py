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
class Blocked:
    """Why something that is to happen does not happen."""

    reason: str
    """One CamelCase word."""
    message: str
    lasting: bool = True
    """It goes on until a person changes something."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything a status is made of."""

    seen: Seen
    plan: Plan
    bootstrap: BootstrapStatus
    stuck: Stuck | None = None
    certificates: Certificates | None = None
    """None when the cluster uses no TLS."""
    blocked: tuple[Blocked, ...] = ()
    """What kept the operator from acting in this pass."""
    blind: str = ""
    """Why the nodes cannot be asked anything, when the operator itself is why."""
    pods: int = 0
    """Pods that the StatefulSet is to run from now on."""
    reloading: str = ""
    """Which nodes have yet to take over the newest configuration file; empty when all have."""
    growing: tuple[str, ...] = ()
    """Volume claims that were asked to grow and have not yet."""
    notes: tuple[str, ...] = ()
    """What a person should know though nothing waits for it."""
    volume_size: str = ""
    """Size that every volume has; empty while there is none."""
