"""The REST gateway of one real node: every endpoint, the page's session, streams, and its end."""

import asyncio
import http.client
import json
import re
import shlex
import socket
import subprocess
from pathlib import Path

import jsonschema
import pytest
from amaters_server.gateway.openapi.document import document
from amaters_server.testing.ports import free_ports
from amaters_server.testing.processes import ServerProcess

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
KEYS = "/api/v1/collections/c/"
JSON = {"Content-Type": "application/json", "Accept": "application/json"}
RAW = {"Content-Type": "application/octet-stream"}
GZIP = {**RAW, "Content-Encoding": "gzip"}


class Answer:
    """What came back."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]


class Web:
    """Asks a gateway."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, method, path, body=None, headers=None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            content = json.dumps(body) if isinstance(body, dict) else body
            connection.request(method, path, content, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def batch(self, *queries):
        return self("POST", "/api/v1/batch", {"queries": queries}, JSON)

    def socket(self, sent: bytes = b"") -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        made.sendall(sent)
        return made


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    [port] = free_ports(1)
    settings = {
        "gateway": {
            "enabled": True,
            "bind_address": f"127.0.0.1:{port}",
            "cors_origins": ["https://app.example"],
            "max_body_bytes": 3_000_000,
            "max_connections": 40,
        },
        "network": {"max_message_bytes": 2_000_000, "connection_timeout_secs": 2},
        "resource_limits": {"max_connections_per_client": 30},
        "timeouts": {"request_timeout_ms": 4000, "write_timeout_ms": 3000},
    }
    made = ServerProcess(tmp_path_factory.mktemp("gateway") / "node", settings)
    made.start()
    asyncio.run(made.ready())
    yield made
    made.kill()


@pytest.fixture
def web(node) -> Web:
    return Web(int(node.settings["gateway"]["bind_address"].rpartition(":")[2]))


def row(number: int) -> dict:
    return {"op": "set", "collection": "rows", "key": f"{number:06}", "value": "v" * 100}


# --- each endpoint --------------------------------------------------------------


def test_a_key_is_written_read_and_removed(web):
    path, value = KEYS + "a%2Fb%00%FF", bytes(range(256))

    assert web("PUT", path, value, RAW).status == 204
    read = web("GET", path)
    assert (read.status, read.body) == (200, value)
    assert read.headers["Content-Type"] == "application/octet-stream"
    assert read.headers["X-Content-Type-Options"] == "nosniff"
    head = web("HEAD", path)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "256")
    assert web("DELETE", path).status == 204
    assert web("GET", path).code == "not_found"
    assert web("HEAD", path).status == 404
    assert web("DELETE", path).status == 204


def test_what_the_gateway_writes_grpc_reads(web, node, call):
    web("PUT", KEYS + "shared", b"over http", RAW)

    async def read() -> bytes | None:
        async with call(node.client) as caller:
            await caller.set(b"other", b"over grpc")
            return await caller.get(b"shared")

    assert asyncio.run(read()) == b"over http"
    assert web("GET", KEYS + "other").body == b"over grpc"


def test_json_carries_values_both_ways(web):
    written = web("PUT", KEYS + "j", {"value": {"base64": "AP8="}}, JSON)
    read = web("GET", KEYS + "j", headers=JSON).json

    assert written.status == 204
    assert read["key"] == {"base64": "ag==", "text": "j"}
    assert read["value"]["base64"] == "AP8="
    assert "text" not in read["value"]


def test_a_batch_is_one_and_its_answers_match_the_description(web):
    found = web.batch(
        {"op": "set", "collection": "b", "key": "1", "value": "x"},
        {"op": "get", "collection": "b", "key": "1"},
        {"op": "get", "collection": "b", "key": "2"},
        {"op": "range", "collection": "b"},
        {"op": "delete", "collection": "b", "key": "1"},
    )

    assert found.status == 200
    conforms("Results", found.json)
    assert found.json["results"][1]["value"]["text"] == "x"
    assert found.json["results"][2] == {"value": None}
    refused = web.batch(
        {"op": "set", "collection": "b", "key": "3", "value": "x"},
        {"op": "set", "collection": "b" * 70_000, "key": "3", "value": "x"},
    )
    assert (refused.status, refused.code) == (400, "invalid_collection")
    assert "Query 1 in batch" in refused.json["error"]["message"]
    assert web("GET", "/api/v1/collections/b/3").status == 404


def test_ranges_filters_and_queries(web):
    web.batch(*({"op": "set", "collection": "f", "key": k, "value": k} for k in "abcd"))
    base = "/api/v1/collections/f"

    ranged = web("POST", base + "/range?start=b&end=d")
    assert [one["key"]["text"] for one in ranged.json["rows"]] == ["b", "c"]
    assert web("GET", base + "?start=b&end=d").json == ranged.json
    conforms("Rows", ranged.json)
    predicate = {"or": [{"eq": {"value": "a"}}, {"gte": {"value": "c"}}]}
    filtered = web("POST", base + "/filter", {"predicate": predicate, "offset": 1}, JSON)
    assert [one["key"]["text"] for one in filtered.json["rows"]] == ["c", "d"]
    queried = web("POST", "/api/v1/query", {"op": "get", "collection": "f", "key": "d"}, JSON)
    assert queried.json["value"]["text"] == "d"
    assert web("PUT", base + "/range", b"a key of that name", RAW).status == 204
    assert web("GET", base + "/range").body == b"a key of that name"


def test_info_health_and_the_description(web):
    assert web("GET", "/health").json == {"status": "healthy"}
    info = web("GET", "/api/v1/info").json
    conforms("Info", info)
    assert "query.get" in info["capabilities"]
    assert web("GET", "/openapi.json").json == document()


def conforms(schema: str, found: object) -> None:
    whole = {**document(), "$ref": f"#/components/schemas/{schema}"}
    jsonschema.Draft202012Validator(whole).validate(found)


def test_administrative_keys_answer_as_over_grpc(web):
    stats = web("GET", "/api/v1/collections/any/__admin__:STATS")

    assert stats.status == 200
    assert stats.json


def test_a_stale_read_says_how_old_it_is(web):
    web("PUT", KEYS + "k", b"v", RAW)

    assert web("GET", KEYS + "k", headers={"Amaters-Read": "stale"}).body == b"v"
    lines = web(
        "GET",
        "/api/v1/collections/c?prefix=k",
        headers={"Amaters-Read": "stale", "Accept": "application/x-ndjson"},
    ).body.splitlines()
    assert json.loads(lines[-1])["end"].keys() == {"rows", "read_age_ms"}
    wrong = web("GET", KEYS + "k", headers={"Amaters-Timeout-Ms": "soon"})
    assert (wrong.status, wrong.code) == (400, "malformed")


def test_a_write_with_a_key_takes_effect_once(web):
    once = {**RAW, "Idempotency-Key": "5d1e3f70"}
    assert web("PUT", KEYS + "once", b"1", once).status == 204
    web("PUT", KEYS + "once", b"2", RAW)

    assert web("PUT", KEYS + "once", b"1", once).status == 204
    assert web("GET", KEYS + "once").body == b"2"
    other = web("PUT", KEYS + "once", b"3", once)
    assert (other.status, other.code) == (422, "request_id_reused")
    assert web("PUT", KEYS + "another", b"3", once).status == 204


def test_cors_is_what_is_configured(web):
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}

    allowed = web("OPTIONS", KEYS + "k", headers=asked)
    assert allowed.status == 204
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "PUT" in allowed.headers["Access-Control-Allow-Methods"]
    refused = web("OPTIONS", KEYS + "k", headers={**asked, "Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in refused.headers
    answer = web("GET", KEYS + "nope", headers={"Origin": "https://app.example"})
    assert answer.status == 404
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"


# --- the page -------------------------------------------------------------------

COMMAND = re.compile(r"^\$ (curl .*(?:\n> .*)*)\n((?:(?!\$ |```).*\n)*)", re.MULTILINE)


def test_the_session_of_the_page_is_true(web):
    page = (ROOT / "docs" / "gateway.md").read_text()
    session = COMMAND.findall(page.partition("## A first session")[2].partition("## Endpoints")[0])

    assert len(session) == 9
    for command, shown in session:
        text = re.sub(r"\n> ?", " ", command).replace("$GATEWAY", f"http://127.0.0.1:{web.port}")
        ran = subprocess.run(
            [*shlex.split(text), "-sS"], capture_output=True, timeout=20, check=True
        )
        found = re.sub(r'"created_at":\d+', '"created_at":1700000000', ran.stdout.decode())
        assert found.strip() == shown.strip(), command


# --- streams --------------------------------------------------------------------


def resident(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def test_a_large_range_streams_in_flat_memory(web, node):
    rows = 30_000
    for start in range(0, rows, 5000):
        assert web.batch(*map(row, range(start, start + 5000))).status == 200
    whole = web("GET", "/api/v1/collections/rows", headers={"Accept": "application/json"})
    assert (whole.status, whole.code) == (422, "answer_too_large")
    lines = {"Accept": "application/x-ndjson"}
    web("GET", "/api/v1/collections/rows?limit=2000", headers=lines)
    before = resident(node.pid)

    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    connection.request("GET", "/api/v1/collections/rows", headers=lines)
    answer = connection.getresponse()
    most, last = before, b""
    for number, line in enumerate(answer):
        last = line
        if number % 5000 == 0:
            most = max(most, resident(node.pid))
    connection.close()

    assert number == rows
    assert json.loads(last) == {"end": {"rows": rows}}
    assert most - before < 16 * 1024 * 1024


def test_a_caller_that_takes_nothing_holds_little_and_is_cut(web, node):
    request = (
        b"GET /api/v1/collections/rows HTTP/1.1\r\nHost: a\r\nAccept: application/x-ndjson\r\n\r\n"
    )
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.connect(("127.0.0.1", web.port))
    lazy.sendall(request)

    cut = metric(node, "amaters_gateway_slow_connections_cut_total")
    assert wait_for(lambda: metric(node, "amaters_gateway_slow_connections_cut_total") > cut)
    assert metric(node, "amaters_gateway_answer_bytes_held") < 1024 * 1024
    lazy.close()


def metric(node, name: str) -> float:
    page = node.page("/metrics")[1]
    return sum(
        float(line.split()[-1]) for line in page.splitlines() if re.match(rf"{name}[ {{]", line)
    )


def wait_for(true, seconds: float = 15.0) -> bool:
    async def wait() -> bool:
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.1)
        return True

    return asyncio.run(wait())


# --- hostile callers ------------------------------------------------------------


def received(made: socket.socket) -> bytes:
    gathered = b""
    try:
        while part := made.recv(65536):
            gathered += part
    except ConnectionError:
        pass
    made.close()
    return gathered


def test_what_is_no_http_gets_400_and_no_line_of_the_log(web, node):
    before = len(node.log)

    for sent in (b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03", b"GET / HTTP/9\r\n\r\n", b"\xff" * 9000):
        made = web.socket(sent + b"\r\n\r\n")
        assert b" 400 " in received(made)
    assert "Traceback" not in node.log[before:]


def test_a_caller_that_leaves_early_is_no_error_of_the_log(web, node):
    before = len(node.log)
    head = b"PUT /api/v1/collections/c/k HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"

    with web.socket(head + b"half"):
        assert wait_for(lambda: metric(node, "amaters_gateway_connections") == 1)

    assert wait_for(lambda: metric(node, "amaters_gateway_connections") == 0)
    assert web("GET", "/health").status == 200
    assert "Error handling request" not in node.log[before:]


def test_headers_and_targets_have_a_limit(web):
    for head in (
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: x\r\n" * 2000 + b"\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        made = web.socket()
        try:
            made.sendall(head)
        except ConnectionError:
            continue
        assert b" 400 " in received(made)


def test_a_head_or_a_body_that_trickles_is_given_up(web):
    slow = web.socket(b"GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    begun = b"PUT " + KEYS.encode() + b"k HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    body = web.socket(begun + b"x")

    assert received(slow) == b""
    answer = received(body)
    assert b" 408 " in answer
    assert b'"body_timeout"' in answer


def test_chunked_garbage_is_refused(web):
    begun = b"PUT " + KEYS.encode() + b"k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    made = web.socket(begun + b"zz\r\nnonsense\r\n")

    assert b" 400 " in received(made)


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        (("PUT", KEYS + "k", b"x" * 3_000_001, RAW), 413, "body_too_large"),
        (("PUT", KEYS + "k", b"x" * 2_000_001, RAW), 413, "body_too_large"),
        (("PUT", KEYS + "k", b"x", {"Content-Type": "text/html"}), 415, "unsupported_media_type"),
        (("PUT", KEYS + "k", b"x", GZIP), 415, "unsupported_media_type"),
        (("PUT", KEYS + "k", b"{", JSON), 400, "malformed"),
        (("PUT", KEYS + "k", {"value": {"base64": "="}}, JSON), 400, "malformed"),
        (("PUT", KEYS + "k", {"valeu": "x"}, JSON), 400, "malformed"),
        (("PUT", KEYS + "%zz", b"x", RAW), 400, "malformed"),
        (("PUT", KEYS + "k" * 65_537, b"x", RAW), 400, None),
        (("PUT", "/api/v1/collections/%ff/k", b"x", RAW), 400, "malformed"),
        (("PUT", KEYS + "k", b"x", {**RAW, "Idempotency-Key": "x" * 200}), 400, "malformed"),
        (("PUT", KEYS + "k", b"x", {**RAW, "X-Request-Id": "s:aa:1"}), 400, "malformed"),
        (("POST", "/api/v1/batch", b"[]", JSON), 400, "malformed"),
        (("POST", "/api/v1/batch", b"{}", RAW), 415, "unsupported_media_type"),
        (("POST", "/api/v1/query", {"op": "drop"}, JSON), 400, "malformed"),
        (("GET", "/api/v1/collections/c?limti=1", None, {}), 400, "malformed"),
        (("GET", KEYS + "k", None, {"Accept": "image/png"}), 406, "not_acceptable"),
        (("GET", "/api/v2", None, {}), 404, "no_such_endpoint"),
        (("PATCH", KEYS + "k", b"x", RAW), 405, "method_not_allowed"),
        (("GET", "/api/v1/batch", None, {}), 405, "method_not_allowed"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(web, asked, status, code):
    answer = web(*asked)

    assert answer.status == status
    if code is not None:
        conforms("Error", answer.json)
        assert answer.code == code


def test_too_many_connections_of_one_address_leave_those_that_are_served(web, node):
    kept = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    kept.request("GET", "/health")
    kept.getresponse().read()
    before = metric(node, "amaters_gateway_connections_refused_total")
    held = [web.socket() for _ in range(35)]

    assert wait_for(lambda: metric(node, "amaters_gateway_connections_refused_total") >= before + 6)
    kept.request("GET", "/health")
    assert kept.getresponse().status == 200
    kept.close()
    for one in held:
        one.close()


def test_requests_under_way_are_answered_when_the_node_stops(tmp_path):
    [port] = free_ports(1)
    node = ServerProcess(
        tmp_path / "node", {"gateway": {"enabled": True, "bind_address": f"127.0.0.1:{port}"}}
    )
    node.start()
    asyncio.run(node.ready())
    web = Web(port)
    rows = [
        {"op": "set", "collection": "c", "key": f"{at:06}", "value": "v" * 2000}
        for at in range(2000)
    ]
    assert web.batch(*rows).status == 200
    stream = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    stream.request("GET", "/api/v1/collections/c", headers={"Accept": "application/x-ndjson"})
    answer = stream.getresponse()
    head = b"PUT " + KEYS.encode() + b"k HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    late = web.socket(head + b"Expect: 100-continue\r\n\r\n")
    assert late.recv(100).startswith(b"HTTP/1.1 100")

    code, lines, refused = asyncio.run(stop_and_go_on(node, answer, late))
    answer.close()
    stream.close()

    assert code == 0
    assert len(lines.splitlines()) == 2001
    assert lines.splitlines()[-1] == b'{"end":{"rows":2000}}'
    # What arrives later is answered too, by a node that may have closed already.
    assert b"Connection: close" in refused
    assert b" 204 " in refused or b'"shutting_down"' in refused
    with pytest.raises(ConnectionError):
        web.socket()


async def stop_and_go_on(node, answer, late) -> tuple[int, bytes, bytes]:
    ended = asyncio.create_task(node.stop())
    async with asyncio.timeout(20):
        while not node.events("server.stopping"):
            await asyncio.sleep(0.02)
    await asyncio.to_thread(late.sendall, b"x")
    refused = await asyncio.to_thread(received, late)
    lines = await asyncio.to_thread(answer.read)
    return await ended, lines, refused
