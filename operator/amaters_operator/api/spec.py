"""`spec` of an AmatersCluster: the desired state."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from amaters_operator.api.authentication import AuthenticationSpec
from amaters_operator.api.authorization import AuditSpec, AuthorizationSpec
from amaters_operator.api.config import ServerConfig
from amaters_operator.api.members.healing import HealingSpec
from amaters_operator.api.members.labels import Annotations, Labels
from amaters_operator.api.members.networking import (
    GatewaySpec,
    NetworkingSpec,
    NetworkPolicySpec,
    ServiceSpec,
)
from amaters_operator.api.members.scheduling import SchedulingSpec
from amaters_operator.api.members.security import PodSecuritySpec
from amaters_operator.api.members.storage import StorageSpec
from amaters_operator.api.members.upgrades import DisruptionSpec, UpgradeSpec
from amaters_operator.api.scalars import (
    ApiModel,
    BackupUri,
    Destination,
    ImageName,
    ObjectName,
    Resources,
    rule,
    rules,
)
from amaters_operator.api.schedules import Schedule, TimeZone
from amaters_operator.api.tls import TlsSpec


class ResourcesSpec(ApiModel):
    """CPU and memory of each member's pod."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.limits) || self.limits.all(name, !(name in self.requests) || "
                "quantity(string(self.requests[name])).compareTo("
                "quantity(string(self.limits[name]))) <= 0)",
                "a limit must not be below its request; requests that are not written are cpu: "
                "250m, memory: 512Mi: raise the limit, or write the request too",
            ),
        )
    )

    requests: Resources = Field(
        default={"cpu": "250m", "memory": "512Mi"}, description="What the scheduler reserves."
    )
    limits: Resources = Field(
        default={}, description="What the pod may never exceed. A memory limit is advisable."
    )


class MonitoringSpec(ApiModel):
    """How Prometheus finds the nodes."""

    enabled: bool = Field(
        default=True,
        description="Create a ServiceMonitor when the Prometheus Operator's CRDs are installed.",
    )
    interval: Annotated[str, StringConstraints(pattern=r"^[0-9]+(ms|s|m|h)$")] = Field(
        default="30s", description="Pause between scrapes."
    )
    labels: Labels = Field(
        default={}, description="Labels for the ServiceMonitor, as your Prometheus selects by."
    )


class AlertsSpec(ApiModel):
    """When nodes raise alerts, and where they post them; each is a log line and a metric too."""

    slow_replication_entries: int = Field(
        default=1000,
        ge=1,
        le=1000000000,
        description="Log entries that a voter lags before it counts as slow. Applied by a reload.",
    )
    dedup_window_seconds: int = Field(
        default=300,
        ge=1,
        le=86400,
        description=(
            "How long the same alert is not repeated while its cause lasts. Applied by a reload."
        ),
    )
    webhook_secret_name: ObjectName | None = Field(
        default=None,
        description=(
            "Secret whose key `url` is the address that every alert is posted to as JSON. It is "
            "mounted and read when it is used: a corrected Secret takes effect within about a "
            "minute. Another name restarts the nodes, one by one."
        ),
    )


class RetentionSpec(ApiModel):
    """Which backups are kept."""

    count: int = Field(
        default=7,
        ge=1,
        le=1000,
        description="Number of backups to keep; older ones are deleted.",
    )


class WebIdentitySpec(ApiModel):
    """A role, and where a token of the ServiceAccount is exchanged for its keys."""

    role_arn: Annotated[str, StringConstraints(min_length=20, max_length=2048)] = Field(
        description="ARN of the role, whose trust policy names the cluster's ServiceAccount."
    )
    audience: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(
        default="sts.amazonaws.com", description="Audience of the token."
    )
    sts_endpoint_url: (
        Annotated[str, StringConstraints(pattern=r"^https?://", max_length=1024)] | None
    ) = Field(default=None, description="URL of a token service that is not AWS's own.")


class BackupSpec(ApiModel):
    """Where backups are stored, and when they are made."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.timeZone) || has(self.schedule)",
                "backup.timeZone needs backup.schedule: set the schedule too, or drop the zone",
            ),
            rule(
                "!has(self.kmsKeyId) || (has(self.serverSideEncryption) && "
                "self.serverSideEncryption == 'aws:kms')",
                "backup.kmsKeyId needs backup.serverSideEncryption: aws:kms",
            ),
        )
    )

    destination: Destination = Field(
        description="Bucket and prefix: s3://bucket/prefix. One cluster per prefix."
    )
    endpoint_url: (
        Annotated[str, StringConstraints(pattern=r"^https?://", max_length=1024)] | None
    ) = Field(default=None, description="URL of an S3 service that is not AWS's own.")
    region: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, description="Region of the bucket."
    )
    addressing_style: Literal["auto", "path", "virtual"] = Field(
        default="auto",
        description="How the bucket is named in requests; most own servers need path.",
    )
    server_side_encryption: Literal["AES256", "aws:kms"] | None = Field(
        default=None, description="Server-side encryption to request."
    )
    kms_key_id: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = Field(
        default=None, description="Key for aws:kms, by id or ARN; the bucket's own when not set."
    )
    ca_secret_name: ObjectName | None = Field(
        default=None,
        description=(
            "Secret with ca.crt, the authorities that sign the store's certificate. To name one, or "
            "no longer, rolls the pods."
        ),
    )
    web_identity: WebIdentitySpec | None = Field(
        default=None,
        description=(
            "Role that the nodes act in by a token of their ServiceAccount, instead of keys. To "
            "set it, or another audience, rolls the pods."
        ),
    )
    credentials_secret_name: ObjectName | None = Field(
        default=None,
        description=(
            "Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and optionally "
            "AWS_SESSION_TOKEN. The operator reads it for each backup and hands the keys to the "
            "node (in clear text without spec.tls), so a correction needs no restart. Named "
            "NAME-backup-credentials it is mounted in the pods, for amaters-cli. Without it the "
            "pods' ambient identity is used."
        ),
    )
    allowed_destinations: list[Destination] = Field(
        default=[],
        max_length=16,
        description=(
            "Buckets and prefixes that amaters-cli may store backups in, or restore them from, "
            "in addition to the destination and bootstrap.restoreFrom."
        ),
    )
    schedule: Schedule | None = Field(
        default=None,
        description=(
            "When to back up, as a cron expression of five fields, such as '0 3 * * *'. "
            "Without it, backups are made on demand only: annotate the cluster with "
            "amaters.io/backup=<any new value>."
        ),
    )
    time_zone: TimeZone | None = Field(
        default=None,
        description="IANA zone of the schedule, such as Europe/Berlin; UTC when not set.",
    )
    retention: RetentionSpec = Field(default=RetentionSpec(), description="Which backups are kept.")


class BootstrapSpec(ApiModel):
    """How the cluster starts; can be corrected until its backup is loaded."""

    restore_from: BackupUri = Field(
        description=(
            "Backup whose data a new cluster starts with: s3://bucket/key as shown by another "
            "cluster's status.backup.last.uri. Endpoint and credentials are those of spec.backup."
        )
    )


class ClusterSpec(ApiModel):
    """The desired cluster: members, version, storage and configuration."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.bootstrap) == has(oldSelf.bootstrap)",
                "bootstrap cannot be added or dropped: it says how the cluster started; create another "
                "cluster instead",
            ),
            rule(
                "has(self.tls) == has(oldSelf.tls)",
                "tls cannot be switched on or off on an existing cluster: create another cluster and "
                "restore a backup into it",
            ),
            rule(
                "!has(self.bootstrap) || has(self.backup)",
                "bootstrap.restoreFrom needs spec.backup: its endpointUrl and "
                "credentialsSecretName are how the store is reached",
            ),
            rule(
                "has(self.authentication) || (!has(self.authorization) && !has(self.audit))",
                "authorization and audit need spec.authentication: without it every caller is accepted",
            ),
            rule(
                "!has(self.authentication) || !has(self.authentication.mtls) || "
                "(has(self.tls) && self.tls.requireClientCert)",
                "authentication.mtls needs tls.requireClientCert: true",
            ),
        )
    )

    image: ImageName = Field(
        description="Image of the database server. A change replaces the pods, one at a time."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When the kubelet pulls the image."
    )
    image_pull_secrets: list[ObjectName] = Field(
        default=[], max_length=16, description="Names of Secrets for the image registry."
    )
    replicas: int = Field(
        default=3,
        ge=1,
        le=9,
        description=(
            "Members of the cluster, 1 to 9. Odd numbers are best: 3 survive the loss of one, "
            "5 of two; an even number survives no more than the odd one below it."
        ),
    )
    paused: bool = Field(
        default=False,
        description=(
            "Observe and report only while true: the operator changes, heals and backs up nothing."
        ),
    )
    hibernate: bool = Field(
        default=False,
        description=(
            "Run no pod while true. Volumes, members and objects stay, and the cluster is back with "
            "the same data afterwards. Scheduled backups are skipped meanwhile."
        ),
    )
    storage: StorageSpec = Field(default=StorageSpec(), description="The volume of each member.")
    resources: ResourcesSpec = Field(
        default=ResourcesSpec(), description="CPU and memory of each member's pod."
    )
    config: ServerConfig = Field(
        default=ServerConfig(), description="Settings of the database nodes."
    )
    tls: TlsSpec | None = Field(
        default=None,
        description="Certificates for clients and peers; without them everything is plain text.",
    )
    authentication: AuthenticationSpec | None = Field(
        default=None,
        description=(
            "Which credentials clients log in with; without it every caller is accepted. Switching "
            "it on or off, switching kubernetes on or off, and another Secret restart the nodes, one "
            "by one; the rest, and corrections of Secrets, are applied by a reload."
        ),
    )
    authorization: AuthorizationSpec | None = Field(
        default=None, description="What callers may do; the built-in roles when not set."
    )
    audit: AuditSpec | None = Field(
        default=None,
        description="The record of logins, denials and changes; by default in the log.",
    )
    service: ServiceSpec = Field(default=ServiceSpec(), description="The Service that clients use.")
    gateway: GatewaySpec = Field(
        default=GatewaySpec(), description="The REST gateway: HTTP and JSON, beside gRPC."
    )
    networking: NetworkingSpec = Field(
        default=NetworkingSpec(), description="Address families: IPv4, IPv6 or both."
    )
    network_policy: NetworkPolicySpec = Field(
        default=NetworkPolicySpec(), description="Who may connect to the members."
    )
    pod_security: PodSecuritySpec = Field(
        default=PodSecuritySpec(), description="The users that the pods run as."
    )
    scheduling: SchedulingSpec = Field(
        default=SchedulingSpec(), description="Where the pods may run."
    )
    pod_disruption_budget: DisruptionSpec = Field(
        default=DisruptionSpec(), description="What drains and other evictions may do."
    )
    monitoring: MonitoringSpec = Field(
        default=MonitoringSpec(), description="How Prometheus finds the nodes."
    )
    alerts: AlertsSpec = Field(
        default=AlertsSpec(), description="Alert thresholds, and where alerts are posted."
    )
    upgrade: UpgradeSpec = Field(default=UpgradeSpec(), description="How pods are replaced.")
    healing: HealingSpec = Field(
        default=HealingSpec(), description="When a member that does not come back is replaced."
    )
    backup: BackupSpec | None = Field(
        default=None, description="Where backups are stored, and when they are made."
    )
    bootstrap: BootstrapSpec | None = Field(
        default=None, description="How the cluster starts; empty when not set."
    )
    termination_grace_period_seconds: int = Field(
        default=60,
        ge=10,
        le=3600,
        description="How long a pod may take to hand over leadership, drain and flush, seconds.",
    )
    pod_annotations: Annotations = Field(
        default={}, description="Annotations for the pods. A change rolls them."
    )
    pod_labels: Labels = Field(
        default={}, description="Further labels for the pods. A change rolls them."
    )
