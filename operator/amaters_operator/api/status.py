"""`status` of an AmatersCluster: the observed state."""

from enum import StrEnum

from pydantic import Field

from amaters_operator.api.canary import CanaryStatus
from amaters_operator.api.conditions import Condition
from amaters_operator.api.pending import ApprovalStatus, MaintenanceStatus, PendingAction
from amaters_operator.api.scalars import ApiModel, Timestamp


class Phase(StrEnum):
    """The STATUS column; the conditions give the details."""

    CREATING = "Creating"
    RESTORING = "Restoring"
    RUNNING = "Running"
    SCALING = "Scaling"
    UPGRADING = "Upgrading"
    UPGRADE_PAUSED = "UpgradePaused"
    UPGRADE_WAITING = "UpgradeWaiting"
    UPGRADE_STUCK = "UpgradeStuck"
    ROLLED_BACK = "RolledBack"
    DEGRADED = "Degraded"
    UNAVAILABLE = "Unavailable"
    PAUSED = "Paused"
    HIBERNATING = "Hibernating"
    HIBERNATED = "Hibernated"
    INVALID = "Invalid"


class MemberStatus(ApiModel):
    """One member as the database and Kubernetes see it."""

    id: int = Field(default=0, description="Member id in the database; never used twice.")
    pod: str = Field(description="Name of its pod.")
    role: str = Field(description="Leader, Follower, Learner, or why it takes no part.")
    ready: bool = Field(default=False, description="The pod is ready.")
    since: Timestamp | None = Field(
        default=None,
        description="Since when it has been ready, or not, by the API server's clock.",
    )
    transition: str = Field(
        default="",
        description=(
            "Uid of the pod, and when its readiness last changed by the clock of its machine: "
            "`since` stays as long as this does."
        ),
    )
    updated: bool = Field(default=False, description="The pod runs the newest revision.")
    node: str = Field(default="", description="Kubernetes node of the pod.")
    version: str = Field(default="", description="Version the node reports.")
    lag_entries: int = Field(default=0, description="Log entries behind the leader.")
    incompatible: str = Field(
        default="",
        description="Version that the other members do not work with; empty when it is compatible.",
    )
    certificate_serial: str = Field(
        default="", description="Serial of the certificate the client listener serves."
    )


class BootstrapStatus(ApiModel):
    """How the cluster started; written before the first pod, never changed after."""

    initial_members: list[str] = Field(
        default=[], description="Members the cluster was formed of: id:host:port."
    )
    cluster_id: str = Field(
        default="", description="Identity of the formed cluster; empty until it formed."
    )
    restored_from: str = Field(default="", description="Backup the data came from.")
    restore_started: Timestamp | None = Field(
        default=None, description="When loading the backup started; see `restore`."
    )
    restored_keys: int = Field(default=0, description="Records loaded from the backup.")


class RestoreStatus(ApiModel):
    """Progress of loading the backup of `bootstrap.restoreFrom`."""

    started: Timestamp | None = Field(
        default=None, description="When the last attempt to load the backup started."
    )
    waiting: str = Field(default="", description="What the next attempt waits for.")
    keys: int = Field(default=0, description="Records that the last attempt has loaded so far.")
    total: int = Field(default=0, description="Records in the backup; 0 while that is not known.")
    loaded_from: str = Field(default="", description="Backup that was loaded completely.")
    error: str = Field(default="", description="Why the last attempt failed.")
    failed: Timestamp | None = Field(default=None, description="When the last attempt failed.")
    failures: int = Field(
        default=0, description="Failed attempts with the same spec and credentials."
    )
    failed_with: str = Field(
        default="",
        description="Generation of the spec and version of the Secret that the last attempt used.",
    )


class TransferStatus(ApiModel):
    """The latest transfer of leadership that a person asked for."""

    request: str = Field(description="Value of the annotation amaters.io/transfer.")
    message: str = Field(default="", description="What came of it.")


class UpgradeStatus(ApiModel):
    """How far the roll is."""

    progress: str = Field(default="", description="Pods on the newest revision, such as 2/3.")
    revision: str = Field(default="", description="The newest revision.")
    message: str = Field(default="", description="What the roll does, or what it waits for.")


class BackupRecord(ApiModel):
    """One backup that was made."""

    uri: str = Field(description="Where it is; give it to bootstrap.restoreFrom.")
    completed: Timestamp = Field(description="When it was complete.")
    trigger: str = Field(default="", description="schedule, or the token it was asked for with.")
    pod: str = Field(default="", description="Pod that made it.")
    size_bytes: int = Field(default=0, description="Size of the file.")
    keys: int = Field(default=0, description="Records in it.")
    applied_index: int = Field(default=0, description="Log index whose state it holds.")
    duration_seconds: float = Field(default=0, description="How long it took.")


class BackupStatus(ApiModel):
    """The newest backup, and the state of the next one."""

    last: BackupRecord | None = Field(default=None, description="The newest backup.")
    last_scheduled: Timestamp | None = Field(
        default=None, description="Latest scheduled time that was served."
    )
    last_token: str = Field(
        default="", description="Latest value of the amaters.io/backup annotation that was served."
    )
    next: Timestamp | None = Field(default=None, description="When the schedule runs next.")
    running_since: Timestamp | None = Field(
        default=None, description="When the running backup started."
    )
    running_above: int | None = Field(
        default=None, description="Highest backup id in the store when the running backup started."
    )
    waiting: str = Field(
        default="", description="What the next backup waits for; empty when it does not wait."
    )
    failure: str = Field(
        default="", description="Why the last attempt failed; empty if it did not."
    )
    failed: Timestamp | None = Field(default=None, description="When the last attempt failed.")
    failures: int = Field(default=0, description="Failed attempts since the last success.")
    failed_token: str = Field(
        default="", description="Value of the annotation that the last attempt failed for."
    )
    failed_with: str = Field(
        default="",
        description="Generation of the spec and version of the Secret that the last attempt used: "
        "once one of them changes, the next attempt does not wait.",
    )
    refused_token: str = Field(
        default="", description="Latest value of the annotation that was refused, with an event."
    )
    kept: int = Field(
        default=0, description="Backups of this cluster in the store after retention."
    )
    others: list[str] = Field(
        default=[], description="Ids of other clusters that have backups in the same place."
    )


class CertificateStatus(ApiModel):
    """The certificate the nodes should serve."""

    serial: str = Field(default="", description="Serial of the certificate in the Secret.")
    not_after: Timestamp | None = Field(default=None, description="When it expires.")
    current_pods: str = Field(default="", description="Pods that serve it, such as 3/3.")


class QuarantinedVolume(ApiModel):
    """Data of a removed member that is not deleted yet."""

    claim: str = Field(description="The volume claim.")
    member: int = Field(description="Id of the removed member whose data it is.")
    since: Timestamp = Field(description="Since when it is out of use.")
    until: Timestamp | None = Field(
        default=None,
        description="When the operator deletes it; not set: it is kept until a person does.",
    )
    set_aside: bool = Field(
        default=False,
        description="Another member uses the volume, and this data lies beside its own.",
    )


class VolumeUsage(ApiModel):
    """How full the volume of a member is, as its node reported it last."""

    pod: str = Field(description="Name of the pod.")
    claim: str = Field(default="", description="Its volume claim.")
    used_bytes: int = Field(
        default=0, description="Bytes that are not free; noted again when `percent` changes."
    )
    capacity_bytes: int = Field(default=0, description="Bytes of the file system.")
    percent: int = Field(default=0, description="Share of it that is used.")
    writes: str = Field(
        default="",
        description="Refused: the node takes deletes only. None: it takes no write. Else empty.",
    )


class AutoGrowStatus(ApiModel):
    """How far spec.storage.autoGrow has grown the volumes."""

    size: str = Field(max_length=32, description="Size that every volume is to have at least.")
    since: Timestamp = Field(description="When that was decided.")
    because: str = Field(default="", description="Why.")


class AbsentMember(ApiModel):
    """A member that the leader has no contact with."""

    member: int = Field(description="Its id.")
    pod: str = Field(description="Name of the pod at its address; empty when that is no pod.")
    since: Timestamp = Field(description="Since when, by the API server's clock.")


class ClusterStatus(ApiModel):
    """The observed state. The operator rebuilds it; do not edit it."""

    observed_generation: int = Field(
        default=0, description="metadata.generation that this status is about."
    )
    phase: Phase = Field(default=Phase.CREATING, description="The state in one word.")
    replicas: int = Field(default=0, description="Pods that exist.")
    pods: int = Field(
        default=0,
        description=(
            "Pods that the StatefulSet is to run: one for each member. Scaling moves it one at a "
            "time towards spec.replicas; another number in the StatefulSet is undone."
        ),
    )
    volume_size: str = Field(
        default="",
        max_length=32,
        description="Size that every volume has at least; spec.storage.size may return to it.",
    )
    ready_replicas: int = Field(default=0, description="Pods that are ready.")
    ready: str = Field(default="", description="Ready pods of the desired ones, such as 3/3.")
    selector: str = Field(default="", description="Label selector of the pods, for scaling tools.")
    leader: str = Field(default="", description="Pod that leads; empty while none is known.")
    version: str = Field(
        default="", description="Version of the nodes; both while they differ, such as 0.3.0,0.3.1."
    )
    image: str = Field(default="", description="Image every pod runs; empty while they differ.")
    members: list[MemberStatus] = Field(default=[], description="The members, by pod.")
    storage: list[VolumeUsage] = Field(
        default=[], description="How full the volumes of the members are."
    )
    auto_grow: AutoGrowStatus | None = Field(
        default=None, description="How far spec.storage.autoGrow has grown the volumes."
    )
    quarantine: list[QuarantinedVolume] = Field(
        default=[], description="Data of removed members that is not deleted yet."
    )
    absent: list[AbsentMember] = Field(
        default=[], description="Members that the leader has no contact with; see spec.healing."
    )
    upgrade: UpgradeStatus | None = Field(default=None, description="How far the roll is.")
    plan: str = Field(
        default="",
        description=(
            "Hash of what is to be done: the newest revision, and the size that shrinking leads to. "
            "It stays while that is carried out; the annotation amaters.io/approve names it."
        ),
    )
    pending_actions: list[PendingAction] = Field(
        default=[], description="What the plan has yet to do to healthy members, in order."
    )
    approval: ApprovalStatus | None = Field(default=None, description="Which approvals count.")
    maintenance: MaintenanceStatus | None = Field(
        default=None, description="The maintenance windows now."
    )
    fenced: list[str] = Field(default=[], description="Pods that are fenced; see the docs.")
    transfer: TransferStatus | None = Field(
        default=None, description="The latest transfer of leadership that was asked for."
    )
    surge: str = Field(
        default="", description="The extra pod of a roll with maxSurge; empty without one."
    )
    canary: CanaryStatus | None = Field(
        default=None, description="The last good revision, and how a newer one does."
    )
    bootstrap: BootstrapStatus | None = Field(default=None, description="How the cluster started.")
    restore: RestoreStatus | None = Field(
        default=None, description="Progress of loading the backup."
    )
    backup: BackupStatus | None = Field(
        default=None, description="The newest backup, and the state of the next one."
    )
    certificates: CertificateStatus | None = Field(
        default=None, description="The certificate the nodes should serve."
    )
    conditions: list[Condition] = Field(
        default=[],
        description="The conditions, each with a reason and the next step.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
