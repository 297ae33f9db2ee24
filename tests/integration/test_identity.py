"""One real process that asks who calls: what it serves, reloads, records and reports."""

import asyncio
import json
import signal
import time
from pathlib import Path

import grpc
import pytest
from amaters.wire import aql_pb2, errors_pb2
from amaters_server.testing.certificates import Authority
from amaters_server.testing.tokens import Signer

pytestmark = pytest.mark.slow

SIGNER = Signer("HS256", b"a secret of thirty-two bytes, so.")
ROLES = """
[[roles]]
name = "clerk"
permissions = [{ resource = "collection:c", actions = ["write"], key_prefixes = ["eu/"] }]
"""


def token(*roles: str, name: str = "ann") -> tuple[tuple[str, str]]:
    claims = {"sub": name, "exp": int(time.time()) + 3600, "roles": roles}
    return (("authorization", f"Bearer {SIGNER.token(claims)}"),)


def settings(folder: Path, **more: dict[str, object]) -> dict[str, dict[str, object]]:
    keys, roles = folder / "keys.json", folder / "roles.toml"
    if not roles.exists():
        roles.write_text(ROLES)
    return {
        "auth": {
            "enabled": True,
            "methods": ["jwt", "api_key"],
            "jwt": {"enabled": True, "secret": SIGNER.key.decode()},
            "api_key": {"enabled": True, "keys_file": str(keys)},
        },
        "authz": {
            "default_role": "clerk",
            "roles_file": str(roles),
            "audit_log_path": str(folder / "audit.jsonl"),
        },
        **more,
    }


@pytest.fixture
async def guarded(server, tmp_path):
    one = server()
    created = one.command(
        "api-key",
        "create",
        "--name",
        "job",
        "--role",
        "clerk",
        "--file",
        str(tmp_path / "keys.json"),
    )
    assert created.returncode == 0, created.stderr
    one.configure(settings(tmp_path))
    one.start()
    await one.ready()
    return one, created.stdout.strip()


async def put(caller, key: bytes, headers) -> int:
    request = aql_pb2.QueryRequest(query=caller.set_query(key, b"value"))
    return (await caller.stub.ExecuteQuery(request, metadata=headers, timeout=10)).error.code


async def test_tokens_and_keys_are_asked_for_and_recorded(guarded, call, tmp_path):
    one, key = guarded
    async with call(one.client) as caller:
        assert await put(caller, b"eu/1", ()) == errors_pb2.ERROR_AUTH_FAILED
        assert await put(caller, b"eu/1", token()) == 0
        assert await put(caller, b"us/1", token()) == errors_pb2.ERROR_AUTH_INSUFFICIENT_PERMISSIONS
        assert await put(caller, b"eu/2", (("x-api-key", key),)) == 0
    await asyncio.sleep(0.5)

    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(one["event_type"], one["result"]) for one in lines] == [
        ("authentication", "failure"),
        ("authentication", "success"),
        ("authorization", "success"),
        ("authorization", "denied"),
        ("authentication", "success"),
        ("authorization", "success"),
    ]
    assert list(lines[2]) == [
        "id",
        "timestamp",
        "event_type",
        "result",
        "principal",
        "auth_method",
        "action",
        "resource",
        "source_ip",
    ]
    assert "value" not in (tmp_path / "audit.jsonl").read_text()
    assert [line["address"] for line in one.events("auth.failed")] == ["127.0.0.1"]
    _, page = await asyncio.to_thread(one.page, "/metrics")
    for line in (
        'amaters_auth_logins_total{outcome="succeeded"} 2.0',
        'amaters_auth_logins_total{outcome="missing"} 1.0',
        "amaters_auth_denied_total 1.0",
        "amaters_audit_dropped_total 0.0",
        "amaters_audit_failing 0.0",
    ):
        assert line in page


async def reloaded(one) -> str:
    before = one.log.count("config.reloaded")
    one.signal(signal.SIGHUP)
    for _ in range(100):
        await asyncio.sleep(0.05)
        if one.log.count("config.reloaded") > before:
            return [line for line in one.log.splitlines() if "config.reloaded" in line][-1]
    raise AssertionError(one.log)


async def test_a_reload_takes_roles_and_keys_or_leaves_all_as_it_was(guarded, call, tmp_path):
    one, key = guarded
    roles, keys = tmp_path / "roles.toml", tmp_path / "keys.json"
    async with call(one.client) as caller:
        assert await put(caller, b"eu/1", (("x-api-key", key),)) == 0

        keys.write_text("[]")
        roles.write_text(ROLES.replace("eu/", ""))
        assert "restricts nothing" in await reloaded(one)
        assert await put(caller, b"eu/1", (("x-api-key", key),)) == 0

        roles.write_text(ROLES.replace("eu/", "us/"))
        await reloaded(one)
        assert await put(caller, b"eu/1", (("x-api-key", key),)) == errors_pb2.ERROR_AUTH_FAILED
        assert await put(caller, b"us/1", token()) == 0
        assert await put(caller, b"eu/1", token()) == errors_pb2.ERROR_AUTH_INSUFFICIENT_PERMISSIONS
    await asyncio.sleep(0.5)
    lines = map(json.loads, (tmp_path / "audit.jsonl").read_text().splitlines())
    changes = [one for one in lines if one["event_type"] == "config_change"]
    assert [one["result"] for one in changes] == ["failure", "success"]
    assert "restricts nothing" in changes[0]["error"]


async def test_a_reload_does_not_switch_authentication_off(guarded, call, tmp_path):
    one, _ = guarded
    one.configure({})

    assert "Skipped (restart required): auth.enabled" in await reloaded(one)
    async with call(one.client) as caller:
        assert await put(caller, b"eu/1", ()) == errors_pb2.ERROR_AUTH_FAILED


async def test_certificates_name_callers_until_they_are_revoked(server, call, tmp_path):
    authority, folder = Authority(), tmp_path / "tls"
    authority.issue().write(folder, authority.pem)
    ada, eve = authority.issue("ada"), authority.issue("eve")
    (tmp_path / "roles.toml").write_text(ROLES)
    (tmp_path / "crl.pem").write_bytes(authority.revoke())
    files = {"tls_cert": "tls.crt", "tls_key": "tls.key", "tls_ca": "ca.crt"}
    one = server()
    one.configure(
        {
            "network": {
                "require_client_cert": True,
                **{key: str(folder / name) for key, name in files.items()},
            },
            "auth": {
                "enabled": True,
                "methods": ["mtls"],
                "mtls": {
                    "enabled": True,
                    "crl_path": str(tmp_path / "crl.pem"),
                    "allowed_principals": ["ada"],
                    "roles": {"ada": ["clerk"]},
                },
            },
            "authz": {"default_role": "clerk", "roles_file": str(tmp_path / "roles.toml")},
        }
    )
    one.start()
    await one.ready()

    def credentials(issued):
        return grpc.ssl_channel_credentials(authority.pem, issued.key, issued.certificate)

    invalid = errors_pb2.ERROR_AUTH_INVALID_CERTIFICATE
    async with (
        call(one.client, credentials(ada)) as caller,
        call(one.client, credentials(eve)) as other,
    ):
        assert await put(caller, b"eu/1", ()) == 0
        assert await put(caller, b"us/1", ()) == errors_pb2.ERROR_AUTH_INSUFFICIENT_PERMISSIONS
        assert await put(other, b"eu/1", ()) == invalid

        (tmp_path / "crl.pem").write_bytes(authority.revoke(ada))
        await reloaded(one)

        assert await put(caller, b"eu/1", ()) == invalid  # Over the connection it has open.
        with pytest.raises(grpc.aio.AioRpcError) as stream:
            await caller.stream(b"eu/", b"eu0")
        assert stream.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert ("amaters-code", "invalid_certificate") in tuple(stream.value.trailing_metadata())


async def test_check_and_start_name_the_same_fault(server, tmp_path):
    one = server()
    one.configure(settings(tmp_path))
    (tmp_path / "keys.json").write_text("no keys")

    checked = one.command("validate-config")
    started = one.command("start")

    assert checked.returncode == 0
    [fault] = [line for line in checked.stderr.splitlines() if "would not start here" in line]
    assert started.returncode == 1
    assert fault.partition("here: ")[2] in started.stderr
