"""Whether every node serves the certificate of the Secret, and what to do when not. Pure.

Three facts are compared by serial: what the Secret holds, what a node says it has loaded, and
what a handshake with each of its listeners shows. Only the last one is proof.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Presented:
    """The certificates of one node."""

    loaded: tuple[str, ...]
    """Serials that the node says it has loaded, one for each listener."""
    served: tuple[str, ...] | None
    """Serials that handshakes showed, one for each listener; None when one did not succeed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where the rotation stands."""

    reload: tuple[str, ...]
    """Pods whose node is to load its files anew; the files may not have arrived yet."""
    unproven: tuple[str, ...]
    """Pods that have loaded it and were not seen serving it."""
    current: tuple[str, ...]
    """Pods that were seen serving it."""

    @property
    def done(self) -> bool:
        """Whether every pod was seen serving the certificate."""
        return not self.reload and not self.unproven


def judge(wanted: str, nodes: Mapping[str, Presented]) -> Verdict:
    """Sort the nodes, by pod name, by how far they are towards the wanted serial."""
    behind = {name for name, node in nodes.items() if _differ(node.loaded, wanted)}
    unproven = {
        name
        for name, node in nodes.items()
        if name not in behind and (node.served is None or _differ(node.served, wanted))
    }
    current = nodes.keys() - behind - unproven
    return Verdict(tuple(sorted(behind)), tuple(sorted(unproven)), tuple(sorted(current)))


def _differ(serials: tuple[str, ...], wanted: str) -> bool:
    return not serials or any(serial != wanted for serial in serials)
