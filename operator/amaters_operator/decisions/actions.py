"""The actions that there are. Each carries its reason; as text it is what people read of it."""

from dataclasses import dataclass

from typing_extensions import override


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing now: something must happen first."""

    because: str
    reason: str = ""
    """One CamelCase word when people should know of it; empty for what passes by itself."""

    @override
    def __str__(self) -> str:
        return self.because


@dataclass(frozen=True, slots=True)
class Stuck:
    """Nothing until a person changes something."""

    because: str

    @override
    def __str__(self) -> str:
        return self.because


@dataclass(frozen=True, slots=True)
class ReplacePod:
    """Evict exactly this pod; the StatefulSet recreates it from the newest revision."""

    pod: str
    uid: str
    because: str
    healthy: bool = True
    """The member takes part: replacing its pod takes it down for a while."""
    urgent: bool = False
    """It undoes a step that was consented to, and waits for no further consent."""

    @override
    def __str__(self) -> str:
        return f"replacing {self.pod}: {self.because}"


@dataclass(frozen=True, slots=True)
class StartCanary:
    """Give the StatefulSet the new pod template, to replace this pod; the status records it."""

    pod: str
    because: str
    healthy: bool = True
    """As of `ReplacePod`."""

    @override
    def __str__(self) -> str:
        return f"trying the new revision on {self.pod}: {self.because}"


@dataclass(frozen=True, slots=True)
class ForceDeletePod:
    """Delete exactly this pod without its kubelet; its member was removed from the cluster."""

    pod: str
    uid: str
    because: str

    @override
    def __str__(self) -> str:
        return f"deleting {self.pod} without its kubelet: {self.because}"


@dataclass(frozen=True, slots=True)
class TransferLeadership:
    """Transfer leadership to this member."""

    to_member: int
    to_pod: str
    because: str
    urgent: bool = False
    """A person asked for exactly this, or a pod goes anyway: it waits for no further consent."""

    @override
    def __str__(self) -> str:
        return f"transferring leadership to {self.to_pod}: {self.because}"


@dataclass(frozen=True, slots=True)
class AddMember:
    """Make the node of this pod a learner of the cluster."""

    ordinal: int
    because: str

    @override
    def __str__(self) -> str:
        return f"adding a learner: {self.because}"


@dataclass(frozen=True, slots=True)
class PromoteMember:
    """Make a learner that has caught up a voter."""

    member: int
    ordinal: int
    because: str

    @override
    def __str__(self) -> str:
        return f"promoting learner {self.member}: {self.because}"


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Remove a member for good."""

    member: int
    ordinal: int
    because: str
    urgent: bool = False
    """It is part of a roll that was consented to."""

    @override
    def __str__(self) -> str:
        return f"removing member {self.member}: {self.because}"


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """Let the StatefulSet run this number of pods."""

    replicas: int
    because: str

    @override
    def __str__(self) -> str:
        return f"running {self.replicas} pods: {self.because}"


@dataclass(frozen=True, slots=True)
class DeleteClaim:
    """Delete the volume claim of a member that was removed, or of a disk that never had one."""

    claim: str
    uid: str
    ordinal: int
    because: str

    @override
    def __str__(self) -> str:
        return f"deleting volume claim {self.claim}: {self.because}"


@dataclass(frozen=True, slots=True)
class SetAside:
    """Let a pod's node set aside what a removed member has stored on its disk, and start empty."""

    ordinal: int
    member: int
    cluster_id: str
    because: str

    @override
    def __str__(self) -> str:
        return f"setting aside the data of removed member {self.member}: {self.because}"


@dataclass(frozen=True, slots=True)
class DiscardSetAside:
    """Delete what a removed member has left on the disk of another."""

    ordinal: int
    member: int
    pod: str
    because: str

    @override
    def __str__(self) -> str:
        return (
            f"deleting what removed member {self.member} left on the disk of {self.pod}: "
            f"{self.because}"
        )


@dataclass(frozen=True, slots=True)
class Restore:
    """Load the backup that the cluster starts with; it runs beside the other actions."""

    uri: str
    replace: bool
    because: str

    @override
    def __str__(self) -> str:
        return f"loading {self.uri}: {self.because}"


Action = (
    ReplacePod
    | StartCanary
    | ForceDeletePod
    | TransferLeadership
    | AddMember
    | PromoteMember
    | RemoveMember
    | SetReplicas
    | DeleteClaim
    | SetAside
    | DiscardSetAside
)
"""What changes something."""
Step = Wait | Stuck | Action
"""What a pass does next."""
