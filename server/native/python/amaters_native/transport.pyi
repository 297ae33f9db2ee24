"""gRPC in batches: a listener whose calls are taken and answered together, and its counterpart.

Rust threads speak HTTP/2 and gRPC framing; Python takes all waiting calls at once and hands
back all answers at once. Nothing here knows what a call means.

Waking up: the listener writes to the caller's eventfd when there is something to take, once,
until the next `take()`. On every wake-up: `os.eventfd_read(fd)`, then `take()`, then
`take_messages()`, `take_cancelled()` and `take_writable()`. When `take(limit)` leaves calls
behind, the eventfd is written again.

A unary call is answered by `reply` or `fail`. A streaming answer is any number of `send` and
then `finish`. Ids that are answered, cancelled or unknown are ignored everywhere: a call can
vanish at any moment.

A method named in `interactive_streams` takes a stream of requests and answers each with one
message. `take` returns the requests as calls of the method that the stream is mapped to, the next
one when the one before has its `reply`. All calls of one stream have the same id. `fail` or
`finish` end the stream; otherwise it ends with OK once the client has sent all and has all
answers.

A method named in `inbound_streams` takes a stream of requests: `take` announces the call with an
empty message, `take_messages` returns what arrives, and `reply`, `fail` or `finish` end it at any
time; `send` may answer before.

Compression: messages may arrive compressed with gzip. Answers are compressed for clients that
send `grpc-encoding: gzip` and accept gzip themselves, unless they are small or do not shrink.

All methods but `close` return at once and may be called from any thread.

The listener answers by itself:

- HTTP 415 and 405 to what is not gRPC;
- UNIMPLEMENTED to a message with another compression than gzip;
- INTERNAL to broken framing or gzip;
- RESOURCE_EXHAUSTED to messages over the limit, also once inflated, and to calls beyond
  `queue_limit`;
- DEADLINE_EXCEEDED to a message that does not arrive within `message_timeout_seconds`, counted
  from the headers, or in a stream from its first byte, and when a call's time is up (the call then
  appears in `take_cancelled`);
- UNAVAILABLE to calls that are unanswered when it closes.

The other direction: a `Connector` has one thread and makes a `Channel` for every connection; its
eventfd works in the same way: `take()`, then `take_readable()`. Every call begun appears in
`take()` once, at the end. A channel is one attempt: it connects by itself, its calls wait for
that, and once it could not connect or has lost its connection every call on it ends with
UNAVAILABLE.
"""

from typing import Self, TypeAlias, final

__all__ = [
    "Call",
    "Channel",
    "ClientIdentity",
    "Connection",
    "Connector",
    "Download",
    "Ended",
    "Listener",
    "ListenerStats",
    "Metadata",
    "Stream",
    "TlsIdentity",
    "release_memory",
]

Metadata: TypeAlias = list[tuple[str, str | bytes]]
"""Lower-case names; the value is bytes where the name ends in "-bin", text otherwise.

That of a call must not be changed: calls of one connection that sent the same share a list.
"""
Call: TypeAlias = tuple[int, str, bytes, float | None, Metadata | None, int]
"""(call_id, path, message, deadline_seconds_left, metadata, connection_id)."""
Ended: TypeAlias = tuple[int, int, str, bytes | None]
"""(call_id, status code, its text, the answer's message if the code is 0)."""

@final
def release_memory() -> bool:
    """Give free memory back to the system; blocks. False when there was none, or no way to."""

class TlsIdentity:
    """A certificate chain, its key, and which clients to trust. Immutable."""

    def __new__(
        cls,
        certificate_pem: bytes,
        key_pem: bytes,
        client_ca_pem: bytes | None = None,
        require_client_cert: bool = False,
    ) -> Self:
        """Read and check the material.

        With `client_ca_pem` a client's certificate is checked against it; it is demanded only
        with `require_client_cert`. `ValueError` says which part is broken: unreadable PEM, a key
        that does not belong to the certificate, a CA without certificates, a client
        certificate demanded without a CA.
        """
    @property
    def serial(self) -> str:
        """The leaf's serial number in lower-case hexadecimal, without leading zeros."""

@final
class Connection:
    """Where a call came from."""

    @property
    def id(self) -> int: ...
    @property
    def peer(self) -> str:
        """The other side's address, `host:port` or `[host]:port`."""
    @property
    def tls(self) -> bool: ...
    @property
    def certificate(self) -> bytes | None:
        """The client's verified leaf certificate (DER), or None when it showed none."""

@final
class ListenerStats:
    """Counters since the start, and gauges."""

    @property
    def connections(self) -> int:
        """Connections open now, those still in their handshake included."""
    @property
    def connections_total(self) -> int: ...
    @property
    def calls_total(self) -> int:
        """Calls received, including those the listener answered itself."""
    @property
    def calls_in_flight(self) -> int:
        """Calls received and not yet answered or gone."""
    @property
    def bytes_received(self) -> int:
        """Bytes of request messages, without framing."""
    @property
    def bytes_sent(self) -> int:
        """Bytes of response messages, without framing."""
    @property
    def handshake_failures(self) -> int:
        """Connections that failed or took too long before they spoke HTTP/2, most of them TLS."""
    @property
    def rejected(self) -> int:
        """Connections over any limit plus calls over `queue_limit`."""
    @property
    def rejected_per_client(self) -> int:
        """Those connections among them that were over `max_connections_per_client`."""
    @property
    def rejected_for_descriptors(self) -> int:
        """Those connections among them whose descriptor was `max_descriptor` or more."""
    @property
    def bytes_held(self) -> int:
        """As `Listener.held`."""
    @property
    def cut_for_slowness(self) -> int:
        """Connections that `Listener.cut_slow` or the write timeout has closed."""
    @property
    def cut_for_floods(self) -> int:
        """Connections that sent too many PING, SETTINGS, RST_STREAM or useless frames."""
    @property
    def sent_elsewhere(self) -> int:
        """Connections that were told to go, because they were idle or old."""
    @property
    def last_rejected_client(self) -> str | None:
        """The address of the last host that was over `max_connections_per_client`."""

@final
class Listener:
    """A listening gRPC server with its own threads."""

    def __new__(
        cls,
        *,
        address: str,
        event_fd: int,
        threads: int = 1,
        max_message_bytes: int = ...,
        max_connections: int = 1000,
        max_connections_per_client: int = 0,
        max_descriptor: int = 0,
        max_concurrent_streams: int = 128,
        queue_limit: int = 65536,
        keepalive_interval_seconds: float = 20.0,
        keepalive_timeout_seconds: float = 20.0,
        handshake_timeout_seconds: float = 10.0,
        message_timeout_seconds: float = 30.0,
        idle_timeout_seconds: float = 0.0,
        max_age_seconds: float = 0.0,
        age_grace_seconds: float = 60.0,
        write_timeout_seconds: float = 30.0,
        stream_window_bytes: int = ...,
        room_bytes: int = ...,
        stream_low_water_bytes: int = ...,
        tls: TlsIdentity | None = None,
        inbound_streams: list[str] = ...,
        interactive_streams: dict[str, str] = ...,
        inbound_backlog_bytes: int = ...,
    ) -> Self:
        """Bind and start to accept at once.

        `address` is `host:port`, `[v6]:port`, or with port 0 for any free one; a name is
        resolved once. `event_fd` is an eventfd in non-blocking mode; it stays the caller's, the
        listener keeps a duplicate. `max_message_bytes` bounds requests, not answers. A keepalive
        interval of 0 switches the server's pings off; clients may ping as they like. A client
        that has not begun to speak after the handshake timeout is disconnected; until it speaks
        it takes no place of `max_connections` or of its address.
        A client is sent elsewhere (GOAWAY) after the idle timeout without a call, and after the
        maximum age, more or less a tenth; calls in progress have the grace after that. One that
        takes nothing of its answers for the write timeout is disconnected. 0 is no limit.
        Requests of more than 64 KiB wait for a part of `room_bytes` before they are read, one
        connection's for a part of half of that; too many that wait are RESOURCE_EXHAUSTED. While
        8 MiB of answers wait for a connection, no more of its calls are read.
        With `tls` plain-text clients are refused. `inbound_streams` are paths of methods. Such a
        stream is not read while more than `inbound_backlog_bytes` wait for `take_messages`.
        `interactive_streams` maps paths to paths of unary methods; such a stream is not read
        while one of its messages is being answered.
        A connection that got `max_descriptor` or a higher number is closed at once; 0 is no limit.

        `OSError` naming the address when it cannot be bound, `ValueError` for bad settings.
        """

    @property
    def port(self) -> int:
        """The port bound."""

    def take(self, limit: int = 4096) -> list[Call]:
        """Take up to `limit` waiting calls, oldest first.

        The path is as sent ("/package.Service/Method", unknown ones included). The message
        is without framing. Metadata holds the client's own headers only, None when there are
        none.
        """

    def take_messages(self) -> list[tuple[int, list[bytes], bool]]:
        """Take all that inbound streams have brought, as (call_id, messages, ended).

        Messages of one call are in order. `ended` says that no more will come: the client waits
        for its answer. Streams that `take` has not announced yet are held back, those that are
        gone are in `take_cancelled`, and what they had brought is lost.
        """

    def take_cancelled(self) -> list[int]:
        """Return taken, unanswered calls that are gone: reset, disconnected or out of time."""

    def take_writable(self) -> list[int]:
        """Return streams whose backlog has fallen to the low-water mark after exceeding it."""

    def reply(self, answers: list[tuple[int, bytes]]) -> None:
        """Answer unary calls with one message and status OK each."""

    def fail(self, failures: list[tuple[int, int, str, Metadata | None]]) -> None:
        """End calls with (call_id, code, message, trailing metadata); also mid-stream.

        `ValueError` for a code outside 0..16 or metadata that HTTP does not allow; then
        nothing of the batch has been sent.
        """

    def send(self, call_id: int, message: bytes) -> int:
        """Queue one message of a streaming answer; return the bytes queued and not yet sent.

        -1 when the call is gone. A caller that sees more than it likes should hold back until
        `take_writable` names the call; it does so for every stream that this method reported
        above `stream_low_water_bytes`.
        """

    def finish(
        self,
        call_id: int,
        code: int = 0,
        message: str = "",
        metadata: Metadata | None = None,
    ) -> None:
        """End a streaming answer after everything queued has been sent; errors as in `fail`."""

    def held(self) -> int:
        """Return how many bytes wait: answers for their callers, messages of streams for Python.

        Answers count with their framing, compressed ones as they are sent.
        """

    def taken(self) -> int:
        """Return how many such bytes have been written to connections since the start."""

    def wake_below(self, size: int) -> bool:
        """Write to the eventfd once less than `size` bytes are held; 0 withdraws it.

        True, and nothing will be written, when it is so already.
        """

    def cut_slow(self, keep: int, parts: int) -> list[tuple[str, int]]:
        """Close slow connections, those that hold most first, until `keep` bytes are held.

        A connection is slow when it held something at the call before, and less than one part in
        `parts` of that has been written since. Returns each one's peer, and how much it held.
        """

    def connection(self, connection_id: int) -> Connection | None:
        """Return where a call came from, or None when that connection is closed."""

    def replace_tls(self, identity: TlsIdentity) -> None:
        """Use another identity for new connections; `ValueError` on a listener without TLS."""

    def limit_connections(self, max_connections: int, max_connections_per_client: int = 0) -> None:
        """Hold so many connections at most from now on; those that are open stay.

        A client is a remote IP address; 0 is no limit for one.
        """

    def certificate_serial(self) -> str | None:
        """Return the serial of the certificate new connections get, None without TLS."""

    def drain(self) -> None:
        """Stop accepting and send clients elsewhere; calls in flight may finish."""

    def close(self, grace_seconds: float = 0.0) -> None:
        """Drain, wait until calls are answered or the grace is over, then stop all threads.

        Blocks for up to the grace (without the GIL): call it from another thread than the one
        that answers. Calling it twice is fine.
        """

    def clients(self) -> list[tuple[tuple[int, int, int] | None, int]]:
        """Return how many connections there are by the version of their client, the oldest first.

        The first call of a connection says it, by the user agent `amaters-client/1.2.3`; None
        stands for all other clients. It looks at every connection.
        """
    def stats(self) -> ListenerStats:
        """Return the counters."""

@final
class ClientIdentity:
    """What an outgoing connection shows, and which servers it trusts. Immutable."""

    def __new__(cls, ca_pem: bytes, certificate_pem: bytes, key_pem: bytes) -> Self:
        """Read and check the material; `ValueError` says which part is broken."""

@final
class Connector:
    """Outgoing connections and the thread that serves them."""

    def __new__(cls, *, event_fd: int) -> Self:
        """Start the thread. The eventfd is duplicated; `OSError` when it is none."""

    def connect(
        self,
        address: str,
        *,
        tls: ClientIdentity | None = None,
        connect_timeout_seconds: float = 5.0,
        keepalive_interval_seconds: float = 20.0,
        keepalive_timeout_seconds: float = 20.0,
        max_message_bytes: int = ...,
    ) -> Channel:
        """Begin to connect to `host:port` or `[v6]:port`; a name is resolved now.

        With `tls` the server's certificate must carry the host as a name or an address. The
        server is pinged all the time, and the connection given up when it does not answer.
        `max_message_bytes` bounds answers. `RuntimeError` once the connector is closed.
        """

    def take(self) -> list[Ended]:
        """Take the outcome of all calls that have ended."""

    def take_readable(self) -> list[int]:
        """Return downloads that have messages; each is named again only after its `take`."""

    def close(self) -> None:
        """Break all connections and stop the thread; calls under way end with UNAVAILABLE."""

@final
class Channel:
    """One connection, or the attempt to have one; letting go of it closes it.

    All methods return at once.
    """

    def unary(
        self,
        path: str,
        message: bytes,
        *,
        timeout_seconds: float | None = None,
        metadata: Metadata = ...,
    ) -> int:
        """Begin a call and return its id; the timeout includes connecting.

        `ValueError` for metadata that HTTP does not allow, here and in `open`.
        """

    def open(self, path: str, *, max_queued_bytes: int, metadata: Metadata = ...) -> Stream:
        """Begin a call whose request is a stream."""

    def download(
        self, path: str, message: bytes, *, max_waiting_bytes: int, metadata: Metadata = ...
    ) -> Download:
        """Begin a call whose answer is a stream; it is not read while more than that waits.

        Its outcome, in `Connector.take`, has an empty message; what came before may wait still.
        """

    def close(self) -> None:
        """Break the connection without waiting for anything that is on its way."""

@final
class Stream:
    """The request of a call that is under way."""

    @property
    def id(self) -> int:
        """The call's id in `Connector.take`."""

    def send(self, messages: list[bytes]) -> bool:
        """Queue the messages, in order, all or none; False when they were dropped.

        They are dropped when the call has ended, or when something is queued and they would
        bring that above `max_queued_bytes`.
        """

    def finish(self) -> None:
        """End the stream after everything queued; the server answers then."""

@final
class Download:
    """The answer of a call that is under way; letting go of it ends the call."""

    @property
    def id(self) -> int:
        """The call's id in `Connector.take` and `Connector.take_readable`."""

    def take(self) -> list[bytes]:
        """Take the messages that are here, in order."""

    def close(self) -> None:
        """End the call: its answer is not wanted any more."""
