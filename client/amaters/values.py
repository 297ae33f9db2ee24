"""Arguments and results of the client: frozen values, no wire, no I/O."""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from amaters.errors import ConfigurationError
from amaters.predicates import Change, Where
from amaters.transport.deadlines import require_duration

KeyLike = bytes | str
"""A key: bytes as they are, text as its UTF-8."""


class Consistency(enum.Enum):
    """How consistent a read must be."""

    LINEARIZABLE = "linearizable"
    """Sees every write that was acknowledged, to any client, before the read began."""
    STALE = "stale"
    """Reads what the answering node has applied; `Entry.age` bounds how old that may be."""


class Compression(enum.Enum):
    """A label the writer put on a value; neither client nor server unpacks anything."""

    NONE = 0
    LZ4 = 1
    ZSTD = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """A key, its value, and what is known about the value; its checksum has been verified."""

    key: bytes
    value: bytes
    checksum: int
    created_at: datetime
    compression: Compression = Compression.NONE
    version: int | None = None
    age: timedelta | None = None
    """Of a stale get or range: at most this old. None when the read was not stale, in scans, and
    when the server sent nothing."""


@dataclass(frozen=True, slots=True)
class Get:
    """Read one key; the result is an Entry or None."""

    collection: str
    key: KeyLike


@dataclass(frozen=True, slots=True)
class Set:
    """Store a value under a key, replacing what was there; the result is rows affected."""

    collection: str
    key: KeyLike
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a key, which need not exist; the result is rows affected."""

    collection: str
    key: KeyLike


@dataclass(frozen=True, slots=True)
class Range:
    """Read the keys in [start, end) in bytewise order; the result is a tuple of entries."""

    collection: str
    start: KeyLike
    end: KeyLike
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Read the entries of a collection whose values match; the result is a tuple of entries."""

    collection: str
    where: Where
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Update:
    """Change all values of a collection that match, or none; the result is rows affected."""

    collection: str
    where: Where
    changes: tuple[Change, ...]


Operation = Get | Set | Delete | Range | Filter | Update

Result = Entry | int | tuple[Entry, ...] | None
"""Of a Get: an Entry or None. Of a Set, Delete or Update: rows affected. Of the others: entries."""


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How much of a scan has arrived."""

    entries: int
    value_bytes: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server's description of itself."""

    address: str
    protocol_version: str
    supported_versions: tuple[str, ...]
    capabilities: tuple[str, ...]
    uptime: timedelta


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the server at that address serves."""

    address: str
    serving: bool
    message: str


class WriteRetries(enum.Enum):
    """What happens to a write whose answer was lost after it had been sent."""

    NEVER = "never"
    """OutcomeUnknownError: the caller decides."""
    SESSIONS = "sessions"
    """Sent again under the same request id. Wrong for servers that keep no write sessions: they
    would apply the write again."""
    IF_SAFE = "if_safe"
    """SESSIONS when the server says that it keeps them, else NEVER; the first write asks it."""


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How long the client waits, and what it does about failures."""

    connect_timeout: timedelta = timedelta(seconds=10)
    """For the first connection of `connect`, and for any when there is but one server."""
    request_timeout: timedelta = timedelta(seconds=30)
    """For a whole call, all its attempts included."""
    keepalive_interval: timedelta = timedelta(seconds=60)
    keepalive_timeout: timedelta = timedelta(seconds=20)
    failover_dial: timedelta = timedelta(milliseconds=400)
    """With several servers: how long one may take to connect before the next is tried."""
    failover_silence: timedelta = timedelta(milliseconds=750)
    """With several servers: how long a call that may be repeated waits for an answer before the
    next is tried; doubled each time, so that slow answers get through."""
    connection_silence: timedelta = timedelta(seconds=1)
    """How long no answer may come while a call waits, not even to the health check that is sent
    half-way, until the connection is replaced. Behind the address of a Service the new one may lead
    to another server. Calls that may be repeated are repeated there; others go on waiting on the
    old one. Also how long the first attempt to connect may take. Slow servers are given more."""
    backoff_first: timedelta = timedelta(milliseconds=50)
    """The longest pause after the first round through all servers; doubled for each further."""
    backoff_limit: timedelta = timedelta(seconds=1)
    max_attempts: int | None = None
    """How often a call may be attempted; None: as often as its time allows."""
    write_retries: WriteRetries = WriteRetries.IF_SAFE
    forwarding: bool = True
    """False: a follower refuses what needs the leader, and the client goes to the leader."""
    server_name: str = ""
    """The name to expect in the servers' certificates, when it is not the address's own."""

    plaintext_login: bool = False
    """True: send tokens and API keys to other hosts without TLS, too. Others can read them then."""

    def __post_init__(self) -> None:
        for name in DURATIONS:
            require_duration(name, getattr(self, name))
        for name in ("backoff_first", "backoff_limit"):
            require_duration(name, getattr(self, name), least=timedelta(0))
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ConfigurationError(
                f"max_attempts is {self.max_attempts!r}: give 1 or more, or None"
            )


DURATIONS = (
    "connect_timeout",
    "request_timeout",
    "keepalive_interval",
    "keepalive_timeout",
    "failover_dial",
    "failover_silence",
    "connection_silence",
)
"""The options that are durations above zero."""
