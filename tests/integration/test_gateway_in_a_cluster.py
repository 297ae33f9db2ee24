"""The gateway asks callers as gRPC does, and any node answers for its cluster."""

import asyncio
import http.client
import json
import socket
import ssl
import time

import grpc
import pytest
from amaters.wire import aql_pb2
from amaters_server.testing.certificates import Authority
from amaters_server.testing.ports import free_ports
from amaters_server.testing.processes import cluster_of, kill_all, start_all
from amaters_server.testing.tokens import Signer

pytestmark = pytest.mark.slow

SIGNER = Signer("HS256", b"a secret of thirty-two bytes, so.")
ROLES = """
[[roles]]
name = "clerk"
permissions = [{ resource = "collection:c", actions = ["write"], key_prefixes = ["eu/"] }]
[[roles]]
name = "guest"
permissions = [{ resource = "collection:d", actions = ["read"] }]
"""
KEYS = "/api/v1/collections/c/"
RAW = {"Content-Type": "text/plain"}


def bearer(*roles: str, expires: float = 3600) -> dict[str, str]:
    claims = {"sub": "ann", "exp": int(time.time() + expires), "roles": roles}
    return {"authorization": f"Bearer {SIGNER.token(claims)}"}


def ask(port, method, path, body=None, headers=None, context=None):
    """Return the status and the body."""
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def over_http(port, context, headers, key: str) -> str:
    status, body = ask(port, "PUT", KEYS + key, b"v", {**RAW, **headers}, context)
    return "" if status == 204 else json.loads(body)["error"]["code"]


async def over_grpc(caller, headers, key: str) -> str:
    request = aql_pb2.QueryRequest(query=caller.set_query(key.encode(), b"v"))
    answer = await caller.stub.ExecuteQuery(request, metadata=tuple(headers.items()), timeout=10)
    return answer.error.details.partition("code=")[2].partition(" ")[0]


@pytest.fixture
async def guarded(server, tmp_path):
    """A node with mutual TLS and every method, and an API key."""
    [port] = free_ports(1)
    authority, folder = Authority(), tmp_path / "tls"
    authority.issue().write(folder, authority.pem)
    (tmp_path / "roles.toml").write_text(ROLES)
    keys = tmp_path / "keys.json"
    one = server()
    make = ("api-key", "create", "--name", "job", "--role", "clerk", "--file", str(keys))
    key = one.command(*make).stdout.strip()
    one.configure(
        {
            "network": {
                "tls_cert": str(folder / "tls.crt"),
                "tls_key": str(folder / "tls.key"),
                "tls_ca": str(folder / "ca.crt"),
                "require_client_cert": True,
            },
            "auth": {
                "enabled": True,
                "methods": ["mtls", "jwt", "api_key"],
                "mtls": {"enabled": True},
                "jwt": {"enabled": True, "secret": SIGNER.key.decode()},
                "api_key": {"enabled": True, "keys_file": str(keys)},
            },
            "authz": {
                "default_role": "guest",
                "roles_file": str(tmp_path / "roles.toml"),
                "audit_log_path": str(tmp_path / "audit.jsonl"),
            },
            "gateway": {"enabled": True, "bind_address": f"127.0.0.1:{port}"},
        }
    )
    one.start()
    await one.ready()
    return one, port, folder, key, authority


def context_of(folder) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


async def test_http_and_grpc_give_every_caller_the_same_answer(guarded, call, tmp_path):
    one, port, folder, key, _ = guarded
    context = context_of(folder)
    matrix = {
        "a token": (bearer("clerk"), "", "permission_denied"),
        "an API key": ({"x-api-key": key}, "", "permission_denied"),
        "a certificate alone": ({}, "permission_denied", "permission_denied"),
        "a token that has ended": (
            bearer("clerk", expires=-999),
            "credential_expired",
            "credential_expired",
        ),
        "a key of nobody": ({"x-api-key": "ak_nobody"}, "unauthenticated", "unauthenticated"),
        "no token": ({"authorization": "Basic YTpi"}, "unauthenticated", "unauthenticated"),
        "two credentials": (
            bearer("clerk") | {"x-api-key": key},
            "unauthenticated",
            "unauthenticated",
        ),
    }
    names = ("ca.crt", "tls.key", "tls.crt")
    channel = grpc.ssl_channel_credentials(*((folder / name).read_bytes() for name in names))

    async with call(one.client, channel) as caller:
        for name, (headers, mine, others) in matrix.items():
            found = [
                await asyncio.to_thread(over_http, port, context, headers, "eu/1"),
                await over_grpc(caller, headers, "eu/1"),
                await asyncio.to_thread(over_http, port, context, headers, "us/1"),
                await over_grpc(caller, headers, "us/1"),
            ]
            assert found == [mine, mine, others, others], name
    info, body = ask(port, "GET", "/api/v1/info", headers={"x-api-key": "nobody"}, context=context)
    assert (info, json.loads(body)["error"]["code"]) == (401, "unauthenticated")
    assert ask(port, "GET", "/health", context=context)[0] == 200
    await one.stop()
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    denied = [line for line in lines if line["result"] == "denied"]
    assert sum(int(line.get("metadata", {}).get("count", 1)) for line in denied) == 8
    assert {line["source_ip"] for line in lines if "source_ip" in line} == {"127.0.0.1"}


async def test_tls_is_that_of_grpc_and_follows_its_files(guarded):
    one, port, folder, _, authority = guarded
    stranger = ssl.create_default_context(cafile=folder / "ca.crt")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(port, "GET", "/health", context=stranger)
    old = presented(port, context_of(folder))

    authority.issue().write(folder, authority.pem)

    async with asyncio.timeout(20):
        while presented(port, context_of(folder)) == old:
            await asyncio.sleep(0.1)
    assert one.is_up()


def presented(port, context) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        return secured.getpeercert(binary_form=True)


async def test_any_node_answers_for_the_cluster(tmp_path):
    ports = free_ports(3)
    servers = cluster_of(tmp_path)
    for server, port in zip(servers, ports, strict=True):
        own = {"gateway": {"enabled": True, "bind_address": f"127.0.0.1:{port}"}}
        server.configure({**server.settings, **own})
    try:
        await start_all(servers)
        await asyncio.to_thread(everywhere, ports)
        for server in servers[1:]:
            server.kill()
        headers = {**RAW, "Amaters-Timeout-Ms": "300"}
        status, body = await asyncio.to_thread(ask, ports[0], "PUT", KEYS + "k", b"v", headers)
        assert status in {503, 504}
        assert json.loads(body)["error"]["category"] == "retryable"
        stale = {"Amaters-Read": "stale"}
        kept = await asyncio.to_thread(ask, ports[0], "GET", KEYS + "once", None, stale)
        assert kept == (200, b"first")
    finally:
        kill_all(servers)


def everywhere(ports: list[int]) -> None:
    for number, port in enumerate(ports):
        assert ask(port, "PUT", f"{KEYS}{number}", b"%d" % number, RAW)[0] == 204
        for other in ports:
            assert ask(other, "GET", f"{KEYS}{number}") == (200, b"%d" % number)
    kept = {**RAW, "Amaters-Forward": "never"}
    answers = [ask(port, "PUT", KEYS + "here", b"v", kept) for port in ports]
    assert sorted(status for status, _ in answers) == [204, 503, 503]
    refused = [json.loads(body)["error"] for status, body in answers if status == 503]
    assert {one["code"] for one in refused} == {"not_leader"}
    assert all(one["leader"].startswith("127.0.0.1:") for one in refused)
    # A write is repeated on another node, and takes effect once.
    once = {**RAW, "Idempotency-Key": "e1f0"}
    for port in ports:
        assert ask(port, "PUT", KEYS + "once", b"first", once)[0] == 204
