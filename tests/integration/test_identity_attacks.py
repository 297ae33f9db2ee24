"""One real process, and bytes that are to make a call another caller's."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from amaters.wire import aql_pb2, errors_pb2, query_pb2, types_pb2
from amaters_server.testing.tokens import Signer

pytestmark = pytest.mark.slow

SIGNER = Signer("HS256", b"a secret of thirty-two bytes, so.")
FAILED = errors_pb2.ERROR_AUTH_FAILED
EXPIRED = errors_pb2.ERROR_AUTH_EXPIRED
DENIED = errors_pb2.ERROR_AUTH_INSUFFICIENT_PERMISSIONS
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, CONTINUATION = 0, 1, 3, 4, 7, 9
END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STATIC_ENTRIES = 61
ROLES = """
[[roles]]
name = "clerk"
[[roles]]
name = "left"
permissions = [{ resource = "collection:left", actions = ["write"] }]
[[roles]]
name = "right"
permissions = [{ resource = "collection:right", actions = ["write"] }]
"""


def bearer(*roles: str, lasts: float = 3600, scheme: str = "Bearer") -> str:
    claims = {"sub": "-".join(roles) or "ann", "exp": time.time() + lasts, "roles": roles}
    return f"{scheme} {SIGNER.token(claims)}"


def get(collection: str) -> bytes:
    query = query_pb2.GetQuery(collection=collection, key=types_pb2.Key(data=b"k"))
    return aql_pb2.QueryRequest(query=query_pb2.Query(get=query)).SerializeToString()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def message(content: bytes) -> bytes:
    return b"\0" + struct.pack(">I", len(content)) + content


def text(value: str | bytes) -> bytes:
    """A string of HPACK, its length in a prefix of seven bits."""
    content = value if isinstance(value, bytes) else value.encode()
    size = len(content)
    if size < 127:
        return bytes([size]) + content
    size -= 127
    length = b"\x7f"
    while size > 127:
        length += bytes([128 | size & 127])
        size >>= 7
    return length + bytes([size]) + content


class Wire:
    """One connection in HTTP/2, with what it has put into the table of header fields."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))
        self.table: list[tuple[str, str | bytes]] = []
        self.buffer = b""
        self.stream = -1

    def begin(self, path: str = "ExecuteQuery") -> bytes:
        """Return the fields of a call that say nothing of who makes it."""
        self.stream += 2
        fields = {
            ":method": "POST", ":scheme": "http", ":path": f"/amaters.aql.AqlService/{path}",
            ":authority": "x", "content-type": "application/grpc", "te": "trailers",
        }  # fmt: skip
        return b"".join(b"\0" + text(name) + text(value) for name, value in fields.items())

    def indexed(self, name: str, value: str | bytes) -> bytes:
        """Return the field as a reference to the table, where it is put first if it is new."""
        if (name, value) in self.table:
            return bytes([0x80 | STATIC_ENTRIES + 1 + self.table.index((name, value))])
        self.table.insert(0, (name, value))
        return b"\x40" + text(name) + text(value)

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def query(self, collection: str, *fields: tuple[str, str | bytes]) -> int:
        """Send a Get with these fields; returns its stream."""
        block = self.begin() + b"".join(b"\0" + text(one) + text(value) for one, value in fields)
        self.send(frame(HEADERS, END_HEADERS, self.stream, block), self.body(collection))
        return self.stream

    def body(self, collection: str, flags: int = END_STREAM) -> bytes:
        return frame(DATA, flags, self.stream, message(get(collection)))

    def codes(self, *streams: int) -> list[int | str]:
        """Return the in-band code of each answer, or how the stream or connection ended."""
        wanted, found, bodies = set(streams), {}, dict.fromkeys(streams, b"")
        while wanted - set(found):
            kind, flags, stream, payload = self.frame()
            if kind == GOAWAY:
                found |= dict.fromkeys(wanted - set(found), "goaway")
            elif kind == RST_STREAM and stream in wanted:
                found.setdefault(stream, "reset")
            elif kind == DATA and stream in wanted:
                bodies[stream] += payload
            if flags & END_STREAM and kind in {DATA, HEADERS} and stream in wanted:
                found.setdefault(stream, _code(bodies[stream]))
        return [found[stream] for stream in streams]

    def frame(self) -> tuple[int, int, int, bytes]:
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3]):
            chunk = self.socket.recv(65536)
            if not chunk:
                return (GOAWAY, 0, 0, b"")
            self.buffer += chunk
        size, kind, flags = int.from_bytes(self.buffer[:3]), self.buffer[3], self.buffer[4]
        stream, payload = int.from_bytes(self.buffer[5:9]), self.buffer[9 : 9 + size]
        self.buffer = self.buffer[9 + size :]
        return kind, flags, stream, payload


def _code(body: bytes) -> int | str:
    if not body:
        return "status"
    return aql_pb2.QueryResponse.FromString(body[5:]).error.code


@contextmanager
def wire(port: int) -> Iterator[Wire]:
    one = Wire(port)
    try:
        yield one
    finally:
        one.socket.close()


def settings(folder: Path) -> dict[str, dict[str, object]]:
    (folder / "roles.toml").write_text(ROLES)
    jwt = {"enabled": True, "secret": SIGNER.key.decode(), "leeway_secs": 0}
    return {
        "auth": {
            "enabled": True,
            "methods": ["jwt"],
            "jwt": jwt,
            "failures_per_minute": 100_000,
        },
        "authz": {
            "default_role": "clerk",
            "roles_file": str(folder / "roles.toml"),
            "audit_log_path": str(folder / "audit.jsonl"),
        },
        "resource_limits": {"max_connections_per_client": 100},
    }


@pytest.fixture
async def guarded(server, tmp_path):
    one = server()
    one.configure(settings(tmp_path))
    one.start()
    await one.ready()
    return one


def codes(port: int, *fields: tuple[str, str | bytes]) -> int | str:
    with wire(port) as one:
        return one.codes(one.query("left", *fields))[0]


async def test_the_ways_to_write_a_credential(guarded):
    """What is accepted is exactly one header with one credential; all else is refused."""
    port, good = guarded.client_port, bearer("left")
    other = bearer("right")
    name = "authorization"

    assert codes(port, (name, good)) == 0
    assert codes(port, (name, bearer("left", scheme="bearer"))) == 0
    assert codes(port, (name, bearer("left", scheme="BEARER"))) == 0
    for fields in (
        (),
        ((name, good), (name, good)),
        ((name, other), (name, good)),
        ((name, good), (name, other)),
        ((name, good), ("x-api-key", "k")),
        ((name, f"{good}, {other}"),),
        ((name, f"{good}\t"),),
        ((name, good.encode() + b"\x80"),),
        ((name, good + "." * 9000),),
        ((name, "Bearer"),),
        ((name, good.replace(" ", "\u00a0").encode()),),
        (("proxy-authorization", good),),
        (("x-authorization", good),),
        (("authorization-bin", good),),
        (("x-api-key-bin", "a2V5"),),
        (("cookie", f"authorization={good}"),),
    ):
        assert codes(port, *fields) in {FAILED, "reset", "status"}, fields
    # These are no HTTP/2 at all.
    for fields in ((("Authorization", good),), ((":authorization", good),)):
        assert codes(port, *fields) in {"reset", "goaway"}, fields
    assert codes(port, (name, good), ("padding", "x" * 100_000)) in {"reset", "goaway", "status"}
    assert codes(port, (name, good)) == 0


async def test_a_credential_in_the_trailers_comes_too_late(guarded):
    with wire(guarded.client_port) as one:
        one.send(
            frame(HEADERS, END_HEADERS, 1, one.begin()),
            one.body("left", flags=0),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\0" + text("authorization")
                  + text(bearer("left"))),
        )  # fmt: skip

        assert one.codes(1)[0] in {FAILED, "reset", "status"}


async def test_a_credential_in_pieces_is_one(guarded):
    with wire(guarded.client_port) as one:
        block = one.begin() + b"\0" + text("authorization") + text(bearer("left"))
        pieces = [block[at : at + 101] for at in range(0, len(block), 101)]
        last = len(pieces) - 1
        one.send(
            *(
                frame(CONTINUATION if at else HEADERS, END_HEADERS if at == last else 0, 1, piece)
                for at, piece in enumerate(pieces)
            ),
            one.body("left"),
        )

        assert one.codes(1) == [0]


async def test_callers_behind_one_connection_are_never_mixed_up(guarded):
    """A proxy sends the calls of two callers interleaved, headers by reference to its table."""
    left, right = bearer("left"), bearer("right")
    with wire(guarded.client_port) as one:
        for _ in range(20):
            streams = []
            for number in range(30):
                own, collection = (left, "left") if number % 2 else (right, "right")
                credential = one.indexed("authorization", own) if number % 3 else b""
                block = one.begin() + credential
                streams.append((one.stream, collection, bool(credential), number % 5 == 0))
                one.send(frame(HEADERS, END_HEADERS, one.stream, block))
            for stream, collection, _, other in reversed(streams):
                asked = {"left": "right", "right": "left"}[collection] if other else collection
                one.send(frame(DATA, END_STREAM, stream, message(get(asked))))
            found = one.codes(*(stream for stream, *_ in streams))
            expected = [
                FAILED if not credential else DENIED if other else 0
                for _, _, credential, other in streams
            ]
            assert found == expected


async def test_a_token_that_ends_is_refused_at_once_on_an_open_connection(guarded):
    short = bearer("left", lasts=1.5)
    with wire(guarded.client_port) as one:
        ends = time.monotonic() + 1.5
        first = one.codes(one.query("left", ("authorization", short)))
        while time.monotonic() < ends + 0.1:
            await asyncio.sleep(0.05)
        last = one.codes(one.query("left", ("authorization", short)))

    assert (first, last) == ([0], [EXPIRED])


async def test_names_from_outside_break_no_line_of_the_logs(guarded, tmp_path):
    hostile = 'a\n{"id":"1"}\x1b[2J\u202e\u009b2J\u2028b'
    port = guarded.client_port
    claims = {"sub": hostile, "exp": time.time() + 60}
    codes(port, ("authorization", "Bearer " + SIGNER.token(claims, kid=hostile)))
    with wire(port) as one:
        one.codes(one.query(hostile, ("authorization", bearer(f"x{hostile}"))))
        one.codes(one.query(hostile, ("authorization", bearer("left"))))
    await asyncio.sleep(0.6)

    audit = (tmp_path / "audit.jsonl").read_bytes()
    lines = [json.loads(line) for line in audit.splitlines()]
    assert lines[-1]["resource"].startswith('Collection("a\\n')
    for log in (audit, guarded.log.encode()):
        assert b"\x1b" not in log
        assert not any(sign.encode() in log for sign in ("\u202e", "\u009b", "\u2028"))
