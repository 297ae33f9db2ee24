"""Long pauses for clusters at rest, with looks that notice what no watch can.

A pass applies every object and reads all there is: some twenty requests. At rest it is made every
ten minutes. In between, watches wake the cluster for anything that changes in Kubernetes. A look
asks the nodes, which costs the API server nothing, and every other one compares the versions of the
Secrets that the last pass read, because Secrets are not watched. Whether the API server knows
ServiceMonitors is asked for all clusters together, once a minute: their kind arrives when
somebody installs the Prometheus Operator, and no watch of ours can tell.

What a look finds starts a pass, and no decision is made from it: it is a hint, like an event. It is
kept in memory for that reason alone. Without it the cluster is simply looked at in full.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from amaters_operator.api.conditions import Condition, ConditionType
from amaters_operator.api.status import ClusterStatus, Phase
from amaters_operator.controllers.observing import observer
from amaters_operator.controllers.pass_context import Nodes
from amaters_operator.decisions.observation import Member, Node, Observation, Pod, Room
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi

RESTING: Final = timedelta(minutes=10)
_LOOKS_PER_SECRET: Final = 2
_DISCOVERED_FOR: Final = timedelta(minutes=1)
_LAG_ENTRIES: Final = 1000
"""A lag that changes by less is not worth a pass."""
_GOOD_WHEN_TRUE: Final = frozenset(
    {
        ConditionType.READY,
        ConditionType.BACKUP_SUCCEEDED,
        ConditionType.CERTIFICATES_CURRENT,
    }
)

_Seen = tuple[dict[int, Node], tuple[Member, ...]]


@dataclass(slots=True)
class _Rest:
    """What the last pass over a cluster at rest has found."""

    nodes: Nodes
    pods: tuple[Pod, ...]
    seen: _Seen
    secrets: Mapping[str, str]
    monitors: bool
    looks: int = 0


class _Discovery:
    """Which kinds the API server knows; asked once in a while for all clusters."""

    def __init__(self, kube: KubeApi) -> None:
        self._kube = kube
        self._monitors = False
        self._until: datetime | None = None

    async def monitors(self) -> bool:
        """Whether ServiceMonitors are known; the answer may be a minute old."""
        now = self._kube.now()
        if self._until is None or now >= self._until:
            self._monitors = await self._kube.serves(kinds.MONITOR)
            self._until = now + _DISCOVERED_FOR
        return self._monitors


class Resting:
    """The clusters at rest, as their last passes found them."""

    def __init__(self, kube: KubeApi) -> None:
        self._kube = kube
        self._rests: dict[tuple[str, str], _Rest] = {}
        self._discovery = _Discovery(kube)

    def begin(
        self, nodes: Nodes, observed: Observation, secrets: Mapping[str, str], *, monitors: bool
    ) -> timedelta:
        """Remember what a pass has found of a cluster at rest; return how long it may rest.

        `secrets` are the versions of the Secrets that it has read, by name; `monitors` says whether
        the API server knew ServiceMonitors.
        """
        key = (nodes.cluster.namespace, nodes.cluster.name)
        self._rests[key] = _Rest(nodes, observed.pods, _seen(observed), dict(secrets), monitors)
        return RESTING

    def end(self, namespace: str, name: str) -> None:
        """Forget the cluster: it is not at rest."""
        self._rests.pop((namespace, name), None)

    async def is_unchanged(self, namespace: str, name: str) -> bool:
        """Look at nodes, Secrets, and kinds; return whether they are as the last pass found them.

        True for a cluster that is not at rest: its passes are frequent.
        """
        rest = self._rests.get((namespace, name))
        if rest is None:
            return True
        rest.looks += 1
        if rest.looks % _LOOKS_PER_SECRET == 0 and not await self._same_secrets(namespace, rest):
            return False
        if await self._discovery.monitors() != rest.monitors:
            return False
        return _seen(await observer.look(rest.nodes, rest.pods, self._kube.now())) == rest.seen

    async def _same_secrets(self, namespace: str, rest: _Rest) -> bool:
        for name, version in rest.secrets.items():
            if await self._kube.version(kinds.SECRET, namespace, name) != version:
                return False
        return True


def is_at_rest(status: ClusterStatus) -> bool:
    """Whether the spec is reached and no condition says anything else."""
    return status.phase is Phase.RUNNING and _all_good(status.conditions)


def _all_good(conditions: Iterable[Condition]) -> bool:
    return all(
        (one.status == "True") == (one.type in _GOOD_WHEN_TRUE)
        for one in conditions
        if one.status != "Unknown" or one.type == ConditionType.READY
    )


def _seen(observed: Observation) -> _Seen:
    """Return the part of an observation that a change of is worth a pass."""
    nodes = {at: replace(one, disk=_rough(one.disk)) for at, one in observed.nodes.items()}
    members = observed.members or ()
    rough = (replace(one, match_index=0, lag=one.lag // _LAG_ENTRIES) for one in members)
    return nodes, tuple(rough)


def _rough(disk: Room | None) -> Room | None:
    """Return a disk of a hundred bytes that is as full: less than that is not worth a pass."""
    if disk is None or not disk.total:
        return disk
    return replace(disk, total=100, free=100 * disk.free // disk.total)
