"""How far a certificate rotation is: what the Secret holds, what nodes load, what they serve. Pure.

All three are compared by serial. Only a handshake with a listener proves what it serves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PresentedCertificates:
    """The certificates of one node."""

    loaded: tuple[str, ...]
    """Serials that the node reports as loaded, one for each listener."""
    served: tuple[str, ...] | None
    """Serials that handshakes showed, one for each listener; None when a handshake failed."""


@dataclass(frozen=True, slots=True)
class RotationState:
    """The pods, by how far they are."""

    reload: tuple[str, ...]
    """Their nodes have to reload; the files may not have arrived yet."""
    unproven: tuple[str, ...]
    """They have loaded the certificate, and no handshake has shown it yet."""
    current: tuple[str, ...]
    """Handshakes have shown the certificate."""

    @property
    def done(self) -> bool:
        """Whether every pod serves the certificate."""
        return not self.reload and not self.unproven


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a pass has found out about the certificates."""

    serial: str = ""
    not_after: datetime | None = None
    state: RotationState | None = None
    problem: str = ""
    """Why the Secret cannot be used, or why a node refuses what it holds."""


def rotation_state(wanted: str, nodes: Mapping[str, PresentedCertificates]) -> RotationState:
    """Sort the nodes, by pod name, by how far they are towards the wanted serial."""
    behind = {name for name, node in nodes.items() if _differ(node.loaded, wanted)}
    unproven = {
        name
        for name, node in nodes.items()
        if name not in behind and (node.served is None or _differ(node.served, wanted))
    }
    current = nodes.keys() - behind - unproven
    return RotationState(tuple(sorted(behind)), tuple(sorted(unproven)), tuple(sorted(current)))


def _differ(serials: tuple[str, ...], wanted: str) -> bool:
    return not serials or any(serial != wanted for serial in serials)
