"""The actions that there are. Each carries its reason; as text it is what people read of it."""

from dataclasses import dataclass

from typing_extensions import override


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing now and look again: something must happen first."""

    because: str

    @override
    def __str__(self) -> str:
        return self.because


@dataclass(frozen=True, slots=True)
class Stuck:
    """Do nothing: it will not get better until a person changes something."""

    because: str

    @override
    def __str__(self) -> str:
        return self.because


@dataclass(frozen=True, slots=True)
class ReplacePod:
    """Evict exactly this pod; the StatefulSet makes it anew from the newest revision."""

    pod: str
    uid: str
    because: str
    healthy: bool = True
    """The pod does its part: replacing it takes a member down for a while."""

    @override
    def __str__(self) -> str:
        return f"replacing {self.pod}: {self.because}"


@dataclass(frozen=True, slots=True)
class TransferLeadership:
    """Hand leadership to this member."""

    to_member: int
    to_ordinal: int
    because: str

    @override
    def __str__(self) -> str:
        return f"handing leadership to pod {self.to_ordinal}: {self.because}"


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
    """Let a learner that has caught up vote."""

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

    @override
    def __str__(self) -> str:
        return f"removing member {self.member}: {self.because}"


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """Have the StatefulSet run so many pods."""

    replicas: int
    because: str

    @override
    def __str__(self) -> str:
        return f"running {self.replicas} pods: {self.because}"


@dataclass(frozen=True, slots=True)
class DeleteClaim:
    """Delete the volume claim of a member that was removed."""

    claim: str
    uid: str
    ordinal: int
    because: str

    @override
    def __str__(self) -> str:
        return f"deleting volume claim {self.claim}: {self.because}"


@dataclass(frozen=True, slots=True)
class Restore:
    """Load the backup that the cluster is to start with. No step of a plan: it goes on beside."""

    uri: str
    replace: bool
    because: str

    @override
    def __str__(self) -> str:
        return f"loading {self.uri}: {self.because}"


Action = (
    ReplacePod
    | TransferLeadership
    | AddMember
    | PromoteMember
    | RemoveMember
    | SetReplicas
    | DeleteClaim
)
"""What changes something."""
Step = Wait | Stuck | Action
"""What a pass does next."""
