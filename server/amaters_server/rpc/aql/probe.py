"""Asking a running server whether it serves, as `amaters-server status --addr` does.

What answers there may speak TLS or not, and may want a certificate, whatever this side is
configured for: that is found out first, so that a server is never called stopped for it.
"""

import contextlib
import enum
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc
from amaters.wire.aql_pb2 import HealthCheckRequest, HealthStatus
from amaters.wire.aql_pb2_grpc import AqlServiceStub
from typing_extensions import override

from amaters_server.config.addresses import host_port
from amaters_server.model.errors import ConfigurationError

PROBE_SECONDS = 5.0
"""How long each step may take; a server answers in milliseconds."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How HTTP/2 begins: the client's greeting and its settings, none."""
_FRAME_HEAD, _SETTINGS = 9, 4


class State(enum.Enum):
    """What was found at an address."""

    RUNNING = "running"
    STOPPED = "stopped"
    """Nothing listens at that address."""
    UNREACHABLE = "unreachable"
    """No answer: the host, the network or the process may be at fault."""
    FOREIGN = "foreign"
    """Something answers, and it is no listener for clients of AmateRS."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is at an address."""

    state: State
    detail: str = ""
    """What else there is to know; perhaps empty."""

    @override
    def __str__(self) -> str:
        joint = ", and " if self.state is State.RUNNING else ": "
        return self.state.value.capitalize() + (joint + self.detail if self.detail else "")


class _Speech(enum.Enum):
    """What a listener speaks."""

    PLAIN = enum.auto()
    TLS = enum.auto()
    TLS_WITH_CERTIFICATES = enum.auto()
    NOTHING = enum.auto()
    OTHER = enum.auto()


_SAID = {
    _Speech.TLS: Found(State.RUNNING, "wants TLS"),
    _Speech.TLS_WITH_CERTIFICATES: Found(State.RUNNING, "wants a client certificate"),
    _Speech.NOTHING: Found(
        State.UNREACHABLE,
        "it closes connections without a word: it may hold as many as it takes, or expect something "
        "else than gRPC",
    ),
    _Speech.OTHER: Found(State.FOREIGN, "what answers there speaks no gRPC: check the port"),
}


def probe(address: str, *, ca: Path | None, tls: bool, seconds: float = PROBE_SECONDS) -> Found:
    """Find out what is there; `tls` and `ca` are what this side is configured for."""
    try:
        speech = _speech(address, seconds)
    except ConnectionRefusedError:
        return Found(State.STOPPED)
    except TimeoutError:
        return _silent("it accepts connections and does not answer")
    except OSError as wrong:
        return _silent(str(wrong))
    if speech is _Speech.PLAIN:
        return _asked(grpc.insecure_channel(address), seconds, "speaks no TLS" if tls else "")
    if speech is _Speech.TLS and tls:
        return _asked(grpc.secure_channel(address, _trusting(ca)), seconds, "")
    return _SAID[speech]


def _silent(why: str) -> Found:
    return Found(State.UNREACHABLE, f"{why}: check the address, the network and the process there")


def _speech(address: str, seconds: float) -> _Speech:
    """Greet it in TLS, and then without; OSError when it does not answer."""
    with _connected(address, seconds) as plain, contextlib.suppress(ConnectionError, TimeoutError):
        found = _in_tls(plain)
        if found is not None:
            return found
    with _connected(address, seconds) as plain:
        try:
            return _greeted(plain)
        except ConnectionError:
            return _Speech.NOTHING


@contextlib.contextmanager
def _connected(address: str, seconds: float) -> Iterator[socket.socket]:
    host, port = host_port(address)
    try:
        connection = socket.create_connection((host, port), seconds)
    except TimeoutError as wrong:
        raise OSError(f"no connection within {seconds:g} s") from wrong
    with connection:
        yield connection


def _in_tls(plain: socket.socket) -> _Speech | None:
    """Say what it speaks within TLS; None when it speaks no TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # What it speaks is asked here; whether it is trusted, by the call that follows.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        secured = context.wrap_socket(plain)
    except ssl.SSLError as wrong:
        return _alerted(wrong) if "ALERT" in (wrong.reason or "") else None
    with secured:
        try:
            found = _greeted(secured)
        except ssl.SSLError as wrong:
            return _alerted(wrong)
        except ConnectionError:
            found = _Speech.NOTHING
    # A server that requires a certificate ends the handshake after our part; gRPC's own server
    # closes the connection without an alert.
    ends = {_Speech.PLAIN: _Speech.TLS, _Speech.NOTHING: _Speech.TLS_WITH_CERTIFICATES}
    return ends.get(found, found)


def _alerted(wrong: ssl.SSLError) -> _Speech:
    wanted = "CERTIFICATE" in (wrong.reason or "")
    return _Speech.TLS_WITH_CERTIFICATES if wanted else _Speech.TLS


def _greeted(connection: socket.socket) -> _Speech:
    """Say how it answers the beginning of HTTP/2: with settings of its own, if it speaks that."""
    connection.sendall(_PREFACE)
    head = b""
    while len(head) < _FRAME_HEAD and (more := connection.recv(_FRAME_HEAD - len(head))):
        head += more
    if len(head) == _FRAME_HEAD and head[3] == _SETTINGS:
        return _Speech.PLAIN
    return _Speech.OTHER if head else _Speech.NOTHING


def _trusting(ca: Path | None) -> grpc.ChannelCredentials:
    try:
        trusted = None if ca is None else ca.read_bytes()
    except OSError as wrong:
        raise ConfigurationError(f"CA file {ca} cannot be read: {wrong.strerror}") from wrong
    return grpc.ssl_channel_credentials(trusted)


def _asked(channel: grpc.Channel, seconds: float, detail: str) -> Found:
    with channel:
        try:
            answer = AqlServiceStub(channel).HealthCheck(HealthCheckRequest(), timeout=seconds)
        except grpc.RpcError as wrong:
            return _failed(wrong)
    if answer.status == HealthStatus.HEALTH_SERVING:
        return Found(State.RUNNING, detail)
    serves_not = f"does not serve now ({answer.message or 'it gives no reason'})"
    return Found(State.RUNNING, f"{serves_not}, and {detail}" if detail else serves_not)


def _failed(wrong: grpc.RpcError) -> Found:
    call = cast("grpc.Call", wrong)  # Which the stubs do not say of what a call raises.
    code, details = call.code(), call.details() or ""
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Found(State.FOREIGN, "another gRPC service answers there: name the port for clients")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return _silent("it accepts calls and does not answer")
    if any(word in details for word in ("CERTIFICATE", "Peer name", "Hostname")):
        return Found(
            State.RUNNING,
            "shows a certificate that is not trusted here: set network.tls_ca to its authority, and "
            "ask by a name that it contains",
        )
    return _silent(f"it does not answer ({details})")
