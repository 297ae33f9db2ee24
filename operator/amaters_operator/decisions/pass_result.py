"""Everything one pass found out, in the shape that a status is made from. Pure values."""

from dataclasses import dataclass

from amaters_operator.api.canary import CanaryStatus
from amaters_operator.api.status import (
    BootstrapStatus,
    QuarantinedVolume,
    VolumeUsage,
)
from amaters_operator.decisions.actions import Stuck
from amaters_operator.decisions.arbitration import Decision
from amaters_operator.decisions.certificates import Rotation
from amaters_operator.decisions.observation import Observation
from amaters_operator.decisions.storage.growth import Filling


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why something that should happen does not happen."""

    reason: str
    """One CamelCase word."""
    message: str
    lasting: bool = True
    """It lasts until a person changes something."""


@dataclass(frozen=True, slots=True)
class PassResult:
    """Everything a status is made from."""

    observed: Observation
    decision: Decision
    bootstrap: BootstrapStatus
    stuck: Stuck | None = None
    certificates: Rotation | None = None
    """None when the cluster uses no TLS."""
    blocked: tuple[Blocked, ...] = ()
    """What kept the operator from acting in this pass."""
    secret_problem: str = ""
    """Why the operator cannot ask the nodes, when its own certificate is the reason."""
    pods: int = 0
    """Pods that the StatefulSet is to run from now on."""
    reloading: str = ""
    """Which nodes have yet to load the newest configuration file; empty when all have."""
    usage: tuple[VolumeUsage, ...] = ()
    """How full the volumes are."""
    filling: Filling | None = None
    """Which volumes fill up; None: not considered."""
    quarantine: tuple[QuarantinedVolume, ...] = ()
    """Data of removed members that is not deleted yet."""
    growing: tuple[str, ...] = ()
    """Volume claims whose volumes have yet to grow."""
    notes: tuple[str, ...] = ()
    """What a person should know though it blocks nothing."""
    volume_size: str = ""
    """Size that every volume has; empty while there is none."""
    canary: CanaryStatus | None = None
    """What the status keeps of revisions that are good, tried and refused."""
