"""One observation of one cluster: pods by Kubernetes, nodes by themselves, members by the leader.

Every decision is a function of these values. `None` always means "not known now", never "not
there".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum


class State(StrEnum):
    """What a node reports that it is doing."""

    STARTING = "starting"
    """It opens its disk; earlier nodes say waiting."""
    WAITING = "waiting"
    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"
    LEARNER = "learner"
    REMOVED = "removed"
    DISK_LOST = "disk_lost"
    SHUTTING_DOWN = "shutting_down"
    UNKNOWN = "unknown"


_TAKES_PART = frozenset({State.FOLLOWER, State.CANDIDATE, State.LEADER, State.LEARNER})


class Cause(StrEnum):
    """What keeps a pod from running, by kind."""

    NONE = ""
    UNSCHEDULABLE = "unschedulable"
    IMAGE = "image"
    CONFIGURATION = "configuration"
    CRASH = "crash"
    DAMAGED = "damaged"
    """The server has ended because what is on its disk is damaged."""
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as Kubernetes reports it."""

    name: str
    ordinal: int
    uid: str
    revision: str
    restart_hash: str = ""
    """Of the settings that it has started with and that need a restart."""
    image: str = ""
    ready: bool = False
    ready_since: datetime | None = None
    """Since when it is ready; None while it is not. By the API server's clock."""
    unready_since: datetime | None = None
    """Since when it is not ready; None while it is."""
    transition: str = ""
    """Its uid, and when its readiness last changed by the clock of its machine."""
    terminating: bool = False
    node: str = ""
    ip: str = ""
    problem: str = ""
    """Why the pod cannot run, in the text of kubelet or scheduler; empty without one."""
    cause: Cause = Cause.NONE
    """Of which kind the trouble is."""
    due: datetime | None = None
    """Deadline of a terminating pod."""
    finalizers: tuple[str, ...] = ()
    restarts: int = 0
    """How often its containers were restarted."""
    forsaken: bool = False
    """Its kubelet reports nothing any more: Kubernetes has marked it not ready in its place."""


@dataclass(frozen=True, slots=True)
class PodWarnings:
    """The last warnings of Kubernetes about a pod that is not ready."""

    creation: str = ""
    """Why it is not created."""
    pod: str = ""
    claim: str = ""
    """Why its volume claim is not bound."""


@dataclass(frozen=True, slots=True)
class Incompatible:
    """A member that a node does not work with, because their versions are incompatible."""

    member: int
    version: str
    reason: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Clients:
    """How many connections clients of one version hold to a node."""

    version: str
    """Empty: they do not say it."""
    connections: int


@dataclass(frozen=True, slots=True)
class Room:
    """The room on the disk of a node, in bytes."""

    total: int
    free: int
    low: bool = False
    """It refuses writes that add data."""
    full: bool = False
    """It takes no write."""

    @property
    def used(self) -> int:
        """What is not free."""
        return max(self.total - self.free, 0)


@dataclass(frozen=True, slots=True)
class Node:
    """A database node as it reports itself."""

    id: int
    state: State
    reason: str = ""
    leader_id: int = 0
    term: int = 0
    cluster_id: str = ""
    version: str = ""
    certificates: tuple[str, ...] = ()
    """Serials of the certificates that it has loaded, one for each listener."""
    config_digest: str = ""
    """Of the configuration file in force; empty when the node reports none."""
    incompatible: tuple[Incompatible, ...] = ()
    disk: Room | None = None
    """None when the node did not measure it."""
    set_aside: tuple[int, ...] = ()
    """The removed members whose data lies beside its own on its disk."""

    fenced: bool = False
    """Not ready, and no leader while another voter can lead."""

    clients: tuple[Clients, ...] = ()
    """Nothing of nodes that do not count them."""

    @property
    def takes_part(self) -> bool:
        """Whether the node takes part in its cluster, as voter or learner."""
        return self.state in _TAKES_PART


@dataclass(frozen=True, slots=True)
class Member:
    """A member as the leader reports it."""

    id: int
    ordinal: int
    """Of the pod at its address; -1 when the address is not a pod of this cluster."""
    learner: bool = False
    started: bool = True
    leader: bool = False
    match_index: int = 0
    lag: int = 0
    active: bool = True
    """The leader received a message from it recently."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One cluster at one moment. Pods are sorted by ordinal."""

    now: datetime
    """By the API server's clock, like every time that is compared with it."""
    pods: tuple[Pod, ...] = ()
    nodes: Mapping[int, Node] = field(default_factory=dict)
    """By pod ordinal; a node that did not answer is absent."""
    members: tuple[Member, ...] | None = None
    """None while no leader lists them."""
    cluster_id: str = ""
    replicas: int | None = None
    """Pods that the StatefulSet runs; None without a StatefulSet."""
    revision: str = ""
    """The StatefulSet's newest revision; empty until its controller has processed its spec."""
    target: str = ""
    """What the pods are rolled to, by a name that is known before its revision; may be empty."""
    warnings: Mapping[int, PodWarnings] = field(default_factory=dict)
    """By pod ordinal; only of pods that are missing for some time."""
    budgets: tuple[str, ...] = ()
    """The disruption budgets that cover the pods."""
    denied: tuple[int, ...] = ()
    """Ordinals of the pods whose nodes do not take the operator for an administrator."""
    cluster: str = ""
    """Name of the cluster, with which those of its pods begin."""

    @property
    def voters(self) -> tuple[Member, ...]:
        """The members that count towards a majority."""
        return tuple(one for one in self.members or () if not one.learner)

    @property
    def learners(self) -> tuple[Member, ...]:
        """The members that are still catching up."""
        return tuple(one for one in self.members or () if one.learner)

    @property
    def mostly_ready(self) -> bool:
        """Whether the kubelets report most pods ready."""
        return 2 * sum(pod.ready for pod in self.pods) > max(len(self.pods), 1)

    def pod(self, ordinal: int) -> Pod | None:
        """Return the pod of that ordinal, or None."""
        return next((pod for pod in self.pods if pod.ordinal == ordinal), None)

    def pod_name(self, ordinal: int) -> str:
        """Return the name of the pod of that ordinal, also while it does not exist."""
        return f"{self.cluster}-{ordinal}" if ordinal >= 0 else "no pod of this cluster"

    def member(self, ordinal: int) -> Member | None:
        """Return the member at that pod's address, or None."""
        return next((one for one in self.members or () if one.ordinal == ordinal), None)

    def participates(self, member: Member) -> bool:
        """Whether the member takes part: its own report and the leader's agree."""
        node = self.nodes.get(member.ordinal)
        return node is not None and node.id == member.id and node.takes_part and member.active

    def fenced(self, ordinal: int) -> bool:
        """Whether the node of that pod reports that it is fenced."""
        node = self.nodes.get(ordinal)
        return node is not None and node.fenced

    def awaited(self, pod: Pod) -> bool:
        """Whether the pod is not ready and should be: a fenced one is meant to be as it is."""
        return not pod.ready and not self.fenced(pod.ordinal)

    def leader(self) -> Member | None:
        """Return the leader that a majority of the voters names in the same term, or None."""
        if self.members is None:
            return None
        claims = [self.nodes[one.ordinal] for one in self.voters if one.ordinal in self.nodes]
        named = [(node.leader_id, node.term) for node in claims if node.leader_id]
        for leader_id, term in set(named):
            if 2 * named.count((leader_id, term)) > len(self.voters):
                return next((one for one in self.voters if one.id == leader_id), None)
        return None

    def outdated(self) -> tuple[Pod, ...]:
        """Return the pods that do not run the newest revision."""
        if not self.revision:
            return ()
        return tuple(pod for pod in self.pods if pod.revision != self.revision)

    def updated(self) -> tuple[Pod, ...]:
        """Return the pods that run the newest revision."""
        return tuple(pod for pod in self.pods if self.revision and pod.revision == self.revision)

    def with_revision(self, revision: str) -> "Observation":
        """Return the observation as if that were the newest revision."""
        return replace(self, revision=revision)

    def rolled_to(self, target: str) -> "Observation":
        """Return the observation with the name of what pods are rolled to."""
        return replace(self, target=target)

    def progress(self) -> str:
        """Return how many pods run the newest revision and are ready, such as 2/3."""
        done = sum(pod.ready for pod in self.updated())
        return f"{done}/{len(self.pods)}"


def listed(names: Iterable[str]) -> str:
    """Return the names as a list in a sentence."""
    return ", ".join(names) or "none"
