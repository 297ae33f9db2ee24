"""The sections about how one server listens, stores and reports."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from amaters_server.config.addresses import BindAddress, MetricsAddress

LogLevel = Literal["trace", "debug", "info", "warn", "error"]
LogFormat = Literal["pretty", "compact", "json"]
EngineName = Literal["lsm", "memory"]
SyncMode = Literal["always", "interval", "none"]

LARGEST = 2**40
"""Of any number: in bytes, so many megabytes still fit 64 bits."""

MOST_COMPACTIONS = 24

Count = Annotated[int, Field(ge=0, le=LARGEST)]
Positive = Annotated[int, Field(ge=1, le=LARGEST)]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _some_path(path: Path) -> Path:
    if path == Path():
        raise ValueError("Data directory cannot be empty: name a folder")
    return path


def _holds_nul(value: object) -> bool:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, (tuple, Mapping)):
        return any(map(_holds_nul, value))
    return isinstance(value, (str, Path)) and "\0" in str(value)


class Section(BaseModel):
    """A table of the configuration: frozen; keys it does not know are reported, not refused."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True)

    @field_validator("*")
    @classmethod
    def _without_nul(cls, value: object) -> object:
        """No path, name or address holds a NUL byte: the operating system cannot take one."""
        if _holds_nul(value):
            raise ValueError("no path, name or address holds a NUL byte: remove it")
        return value


class ServerSection(Section):
    """The address, the data folder and the stop of the server."""

    bind_address: BindAddress = Field(default="0.0.0.0:7878", description="Where clients connect.")
    data_dir: Annotated[Path, AfterValidator(_some_path)] = Field(
        default=Path("./data"), description="Folder that holds everything durable."
    )
    pid_file: Path = Field(
        default=Path("/var/run/amaters-server.pid"), description="File that holds the process id."
    )
    max_connections: Positive = Field(
        default=1000,
        description="Client connections held at most; fewer when the limit of open files does not "
        "allow for so many.",
    )
    shutdown_timeout_secs: Count = Field(
        default=30,
        description="Seconds from the signal to stop until calls in flight, streams included, are "
        "aborted; a second signal aborts them at once.",
    )


class WalSection(Section):
    """The write-ahead log."""

    enabled: bool = Field(
        default=True, description="False is refused: the log makes a write durable."
    )
    dir: Path | None = Field(
        default=None,
        description="Folder of the log, relative to `server.data_dir`, such as one on a disk of its "
        "own. Not set: the folder of the database. When it changes, the next start moves what is in "
        "the old log to table files first. Set it back before a downgrade to a version below 0.4.",
    )
    segment_size_mb: Positive | None = Field(
        default=None,
        description="Refused: a file of the log ends when a memtable is full "
        "(`storage.memtable_size_mb`). 64, which earlier versions wrote, is taken with a notice.",
    )
    sync_mode: SyncMode = Field(
        default="always",
        description="`always`: a group of writes is forced to disk before any of them is "
        "acknowledged. `interval`: at most `sync_interval_ms` later; a failure of the machine may "
        "lose the writes of that time. `none`: when the operating system does it. What may be lost "
        "is a line of the log at the start. Terms and votes are always forced to disk.",
    )
    sync_interval_ms: Annotated[int, Field(ge=1, le=60_000)] = Field(
        default=100,
        description="With `interval`: milliseconds until acknowledged writes are forced to disk.",
    )


class CompactionSection(Section):
    """Compaction of table files."""

    strategy: Literal["leveled", "tiered", "universal"] = Field(
        default="leveled", description="`tiered` and `universal` write less and read more."
    )
    num_levels: Annotated[int, Field(ge=2, le=20)] = Field(
        default=7, description="Levels of table files."
    )
    level_multiplier: Annotated[int, Field(ge=2, le=LARGEST)] = Field(
        default=10, description="How many times larger each level is than the one above."
    )
    max_concurrent: Annotated[int, Field(ge=1, le=MOST_COMPACTIONS)] = Field(
        default=4, description="Compactions running at once."
    )


class StorageSection(Section):
    """The storage engine."""

    engine: EngineName = Field(
        default="lsm",
        description="`lsm` stores on disk (RocksDB); `memory` loses everything at exit.",
    )
    memtable_size_mb: Positive = Field(
        default=64, description="Megabytes held in memory before a flush."
    )
    min_free_mb: Count | None = Field(
        default=None,
        description=(
            "Megabytes that stay free on the disk: below that, writes that add data are refused "
            "(STORAGE_FULL) while reads and deletes continue. Not set: 5 % of the disk, and "
            "twice `storage.memtable_size_mb` if that is more, at most 1024 and a quarter of the disk, "
            "at least 8. 0 switches it off."
        ),
    )
    block_cache_size_mb: Count = Field(default=256, description="Megabytes of read cache.")
    wal: WalSection = WalSection()
    compaction: CompactionSection = CompactionSection()


class NetworkSection(Section):
    """The client listener and its TLS."""

    max_message_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = Field(
        default=4 * 1024 * 1024, description="Largest request, and largest single answer."
    )
    tls_enabled: bool = Field(
        default=False,
        description="Whether clients and peers must speak TLS. Not set: they must when `tls_cert` "
        "and `tls_key` are set.",
    )
    tls_cert: Path | None = Field(default=None, description="Certificate chain (PEM).")
    tls_key: Path | None = Field(default=None, description="Private key of the certificate (PEM).")
    tls_ca: Path | None = Field(
        default=None, description="Authorities that sign client certificates (PEM)."
    )
    require_client_cert: bool = Field(
        default=False, description="Refuse clients without a certificate."
    )
    connection_timeout_secs: Positive = Field(
        default=30, description="Seconds a TLS handshake may take."
    )
    keepalive_interval_secs: Count = Field(
        default=60, description="Seconds between pings on idle connections; 0 switches them off."
    )
    reflection: bool = Field(
        default=True,
        description="Whether both gRPC listeners describe their services to clients such as "
        "grpcurl (server reflection).",
    )

    @model_validator(mode="before")
    @classmethod
    def _certificates_mean_tls(cls, given: object) -> object:
        """Switch TLS on for a certificate with its key, unless `tls_enabled` decides."""
        pair = isinstance(given, Mapping) and given.get("tls_cert") and given.get("tls_key")
        return {"tls_enabled": True, **given} if isinstance(given, Mapping) and pair else given


class RotationSection(Section):
    """Rotation of the log file, by size and by time."""

    enabled: bool = Field(default=True, description="Whether the log file is rotated.")
    max_size_mb: Positive = Field(
        default=100, description="Megabytes at which a new file is begun."
    )
    interval: Literal["none", "hourly", "daily"] = Field(
        default="none",
        description="Begin a new file also with each hour, or each day, of UTC.",
    )
    max_backups: Count = Field(default=10, description="Rotated files kept.")
    compress: bool = Field(default=False, description="Compress rotated files with gzip.")


class LoggingSection(Section):
    """Level, format and destination of the log."""

    level: Annotated[LogLevel, BeforeValidator(_lower)] = Field(
        default="info", description="Least severity that is logged."
    )
    format: Annotated[LogFormat, BeforeValidator(_lower)] = Field(
        default="pretty", description="`json` is for programs; the others are for reading."
    )
    file_enabled: bool = Field(
        default=False, description="Log to `file_path` as well as to stderr."
    )
    file_path: Path | None = Field(default=None, description="The log file.")
    rotation: RotationSection = RotationSection()


class MetricsSection(Section):
    """Health and metrics over HTTP."""

    enabled: bool = Field(
        default=True, description="Whether `/metrics` is served; health always is."
    )
    bind_address: MetricsAddress = Field(
        default="127.0.0.1:9090",
        description="Where `/livez`, `/readyz`, `/health` and `/metrics` are.",
    )
    export_interval_secs: Positive = Field(
        default=60, description="Seconds between two entries of the health history."
    )


class ResourceLimitsSection(Section):
    """Limits for callers."""

    max_connections_per_client: Count = Field(
        default=10,
        description="Client connections held at most for one IP address, so that one host cannot "
        "lock the others out; 0 is no limit. Raise it where many clients share an address, as "
        "behind a NAT or a proxy.",
    )
    max_requests_per_second_global: Count = Field(
        default=0,
        description="Calls a second that are taken of all clients together, with a burst of one "
        "second's worth; more are refused with the time to wait. A batch is one call. 0 is no "
        "limit.",
    )
    max_requests_per_second_per_client: Count = Field(
        default=0, description="The same for one IP address; 0 is no limit."
    )
    adaptive_rate: bool = Field(
        default=False,
        description="Reduce the global rate to 0.8 of itself while more than 10 % of the answers "
        "are server errors, and raise it by 1.05 afterwards, up to the configured one; looked at "
        "after each 100 answers.",
    )
    max_memory_bytes: Count = Field(
        default=0,
        description="While the process holds more memory than this, only queries of up to 16 KiB "
        "are taken; streams, batches and larger queries are refused as overload. 0 is no limit.",
    )
    max_update_rows: Positive = Field(
        default=1_000_000,
        description="Rows that one Update, or one Filter in a batch with writes, may look at: the "
        "size of its collection. Above it, it is refused and changes nothing. Other writes, and "
        "reads that are not stale, wait while an Update is applied: some seconds for 1,000,000 rows.",
    )
    max_update_mb: Positive = Field(
        default=256,
        description="Megabytes of keys and new values that one Update may write; above that it is "
        "refused and changes nothing. Each member holds them in memory until they are on its disk.",
    )
    max_active_queries: Positive = Field(
        default=1000, description="Calls in progress at once; more are refused as overload."
    )


class CircuitCacheSection(Section):
    """Cache of compiled circuits."""

    max_entries: Count = Field(default=1000, description="Accepted; nothing is compiled yet.")
    ttl_secs: Count = Field(default=300, description="Accepted; nothing is compiled yet.")


class TimeoutsSection(Section):
    """Timeouts."""

    request_timeout_ms: Positive = Field(
        default=30_000,
        description="Milliseconds a call may take unless its own deadline is shorter.",
    )
    idle_connection_timeout_ms: Positive = Field(
        default=60_000,
        description="Milliseconds after which a client connection without calls is closed; clients "
        "connect again with their next call.",
    )
    max_connection_age_ms: Count = Field(
        default=3_600_000,
        description="Milliseconds after which a client is asked to connect again, more or less a "
        "tenth, so that load spreads over new members and renewed certificates are used; 0 is "
        "never. No call fails for it.",
    )
    connection_age_grace_ms: Count = Field(
        default=300_000,
        description="Milliseconds that calls in progress, streams included, may take after that; "
        "then the old connection is closed.",
    )
    write_timeout_ms: Positive = Field(
        default=60_000,
        description="Milliseconds after which a client is disconnected that takes nothing of the "
        "answers that wait for it.",
    )
    graceful_shutdown_timeout_ms: Count | None = Field(
        default=None,
        description="Milliseconds that calls in flight, streams included, may take when the "
        "server stops; at most, and without this key, `server.shutdown_timeout_secs`.",
    )
    keep_alive_interval_ms: Count = Field(
        default=15_000, description="Accepted; `network.keepalive_interval_secs` decides."
    )
