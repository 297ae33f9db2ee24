"""`spec.config`: the settings of the server that a cluster may choose.

The operator sets addresses, paths, certificates and membership itself.
"""

from typing import Literal

from pydantic import ConfigDict, Field

from amaters_operator.api.scalars import ApiModel, rule, rules


class LoggingConfig(ApiModel):
    """What the nodes log. Changes are applied by a reload, without a restart."""

    level: Literal["trace", "debug", "info", "warn", "error"] = Field(
        default="info", description="Least severity that is logged."
    )
    format: Literal["json", "compact", "pretty"] = Field(
        default="json", description="Shape of a log line; json suits log collectors."
    )


class StorageConfig(ApiModel):
    """How a node uses its disk and memory for data. Changes restart the nodes, one by one."""

    memtable_size_mb: int = Field(
        default=64,
        ge=4,
        le=4096,
        description="Memory for new writes before they are flushed, MB.",
    )
    block_cache_size_mb: int = Field(
        default=256, ge=8, le=65536, description="Memory for blocks read from disk, MB."
    )


class LimitsConfig(ApiModel):
    """Limits that protect a node from its clients."""

    max_connections: int = Field(
        default=1000,
        ge=1,
        le=100000,
        description="Client connections per node. Applied by a reload, without a restart.",
    )
    max_connections_per_client: int = Field(
        default=10,
        ge=0,
        le=100000,
        description=(
            "Client connections per node from one IP address, 0 for any number. Raise it when many "
            "clients share an address, as behind a node port. Applied by a reload, without a restart."
        ),
    )
    calls_per_second: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description=(
            "Calls a second that a node takes of all clients together, 0 for any number. More are "
            "refused with the time to wait. Applied by a reload, without a restart."
        ),
    )
    calls_per_second_per_client: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="The same for one IP address. Applied by a reload, without a restart.",
    )
    max_message_bytes: int = Field(
        default=16777216,
        ge=65536,
        le=268435456,
        description="Largest request or answer, bytes. A change restarts the nodes, one by one.",
    )
    request_timeout_ms: int = Field(
        default=30000,
        ge=100,
        le=600000,
        description=(
            "Deadline of a request whose client set none, milliseconds. "
            "A change restarts the nodes, one by one."
        ),
    )


class ConsensusConfig(ApiModel):
    """Failure detection, and how much log the members keep."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.electionTimeoutMs >= 3 * self.heartbeatIntervalMs",
                "electionTimeoutMs must be at least three times heartbeatIntervalMs, "
                "or one late heartbeat starts an election",
            )
        )
    )

    heartbeat_interval_ms: int = Field(
        default=100,
        ge=10,
        le=10000,
        description="Pause between the leader's heartbeats, milliseconds.",
    )
    election_timeout_ms: int = Field(
        default=1000,
        ge=100,
        le=60000,
        description=(
            "Silence of the leader after which a follower starts an election, milliseconds. "
            "Writes pause for one to two of these when a leader is lost."
        ),
    )
    log_retention_entries: int = Field(
        default=100000,
        ge=1000,
        le=100000000,
        description=(
            "Log entries kept for members that lag; one that lags further is sent a snapshot."
        ),
    )
    log_retention_mb: int = Field(
        default=512, ge=16, le=1048576, description="Log kept for members that lag, MB."
    )
    snapshot_rate_limit_mb: int = Field(
        default=64, ge=1, le=10000, description="Speed limit of a snapshot sent to a member, MB/s."
    )


class RequestLogConfig(ApiModel):
    """Lines about single requests in the nodes' logs. Changes are applied by a reload."""

    mode: Literal["off", "sampled", "all"] = Field(
        default="off",
        description="Which requests are logged; their keys as digests, of values the sizes.",
    )
    sample_percent: int = Field(
        default=1, ge=0, le=100, description="With sampled: the share of requests that is logged."
    )
    slow_ms: int = Field(
        default=0,
        ge=0,
        le=3600000,
        description="Milliseconds from which a request is logged as slow in any case; 0 is never.",
    )


class TracingConfig(ApiModel):
    """Traces of requests, by OpenTelemetry. Changes restart the nodes, one by one."""

    endpoint: str = Field(
        default="",
        max_length=1024,
        pattern=r"^(https?://[^\s]+)?$",
        description="Where spans go, by OTLP over HTTP, such as http://collector:4318; empty for "
        "no traces.",
    )
    sample_percent: int = Field(
        default=1,
        ge=0,
        le=100,
        description="Share of the requests that are traced whose callers do not decide themselves.",
    )


class TelemetryConfig(ApiModel):
    """What nodes record of single requests."""

    request_log: RequestLogConfig = Field(
        default=RequestLogConfig(), description="Lines about single requests in the log."
    )
    tracing: TracingConfig = Field(
        default=TracingConfig(), description="Traces of requests, by OpenTelemetry."
    )


class ServerConfig(ApiModel):
    """Settings of the database nodes; each has a default."""

    logging: LoggingConfig = Field(default=LoggingConfig(), description="What the nodes log.")
    telemetry: TelemetryConfig = Field(
        default=TelemetryConfig(), description="What nodes record of single requests."
    )
    storage: StorageConfig = Field(
        default=StorageConfig(), description="Memory and disk use of the storage engine."
    )
    limits: LimitsConfig = Field(
        default=LimitsConfig(), description="Limits that protect a node from its clients."
    )
    cluster: ConsensusConfig = Field(
        default=ConsensusConfig(), description="Timings and log retention of the replication."
    )
