"""Three real nodes that ask who calls: each decides, and the leader again for what is passed on."""

import asyncio
import json
import signal
import time

import pytest
from amaters import AdminClient
from amaters.wire import aql_pb2, errors_pb2
from amaters_server.testing.processes import cluster_of, kill_all, start_all
from amaters_server.testing.tokens import Signer

pytestmark = pytest.mark.slow

SIGNER = Signer("HS256", b"a secret of thirty-two bytes, so.")
DENIED = errors_pb2.ERROR_AUTH_INSUFFICIENT_PERMISSIONS
ROLES = """
[[roles]]
name = "chief"
permissions = [{ resource = "*", actions = ["admin"] }]
[[roles]]
name = "clerk"
permissions = [{ resource = "collection:c", actions = ["write"], key_prefixes = ["eu/"] }]
[[roles]]
name = "watcher"
permissions = [{ resource = "server", actions = ["read"] }]
"""


def headers(role: str) -> tuple[tuple[str, str]]:
    claims = {"sub": role, "exp": int(time.time()) + 3600, "roles": [role]}
    return (("authorization", f"Bearer {SIGNER.token(claims)}"),)


def settings(roles) -> dict[str, dict[str, object]]:
    return {
        "auth": {
            "enabled": True,
            "methods": ["jwt"],
            "jwt": {"enabled": True, "secret": SIGNER.key.decode()},
        },
        "authz": {"default_role": "clerk", "roles_file": str(roles)},
    }


def with_roles(server, text: str) -> None:
    (server.folder / "roles.toml").write_text(text)


@pytest.fixture
async def servers(tmp_path):
    made = cluster_of(tmp_path)
    for one in made:
        with_roles(one, ROLES)
        cluster = one.settings["cluster"]
        one.configure({**settings(one.folder / "roles.toml"), "cluster": cluster})
    try:
        await start_all(made)
        yield made
    finally:
        kill_all(made)


async def leader_of(servers):
    async with AdminClient.connect(servers[0].internal) as admin:
        leader = (await admin.status()).leader_id
    return servers[leader - 1]


async def asked(caller, key: bytes, role: str) -> aql_pb2.QueryResponse:
    request = aql_pb2.QueryRequest(query=caller.get_query(key))
    return await caller.stub.ExecuteQuery(request, metadata=headers(role), timeout=10)


async def test_a_follower_decides_itself_and_its_leader_again(servers, call):
    leader = await leader_of(servers)
    follower = next(one for one in servers if one is not leader)
    async with call(follower.client) as caller:
        for key, code in ((b"eu/1", 0), (b"us/1", DENIED)):
            request = aql_pb2.QueryRequest(query=caller.set_query(key, b"v"))
            answer = await caller.stub.ExecuteQuery(request, metadata=headers("clerk"), timeout=10)
            assert answer.error.code == code
        nodes = await asked(caller, b"__admin__:NODES", "watcher")
        assert len(json.loads(nodes.result.single.value.data)["nodes"]) == 3
        assert (await asked(caller, b"__admin__:CLUSTER_INFO", "watcher")).error.code == DENIED
        assert (await asked(caller, b"__admin__:CLUSTER_INFO", "chief")).error.code == 0

        with_roles(leader, ROLES.replace('"server"', '"collection:other"'))
        leader.signal(signal.SIGHUP)
        for _ in range(100):
            refused = await asked(caller, b"__admin__:NODES", "watcher")
            if refused.error.code:
                break
            await asyncio.sleep(0.05)
        assert refused.error.code == DENIED
        assert "User 'watcher' with role 'watcher' not authorized to Admin on Server" in (
            refused.error.message
        )


async def test_an_administrator_moves_leadership_through_any_member(servers):
    leader = await leader_of(servers)
    follower = next(one for one in servers if one is not leader)

    async with AdminClient.connect(follower.internal) as admin:
        moved = await admin.transfer_leadership()

    assert servers[moved.leader_id - 1] is not leader


async def test_identity_is_turned_on_node_by_node(tmp_path, call):
    """A cluster without it rolls to one with it; administration goes on at every step."""
    servers = cluster_of(tmp_path)
    try:
        await start_all(servers)
        for one in servers:
            assert await one.stop() == 0
            with_roles(one, ROLES)
            one.configure(
                {**settings(one.folder / "roles.toml"), "cluster": one.settings["cluster"]}
            )
            one.start()
            await asyncio.gather(*(other.ready() for other in servers))
            for other in servers:
                async with AdminClient.connect(other.internal) as admin:
                    assert len((await admin.members(from_leader=True)).members) == 3
                    await admin.transfer_leadership(one.settings["cluster"]["node_id"])
                async with call(other.client) as caller:
                    nodes = await asked(caller, b"__admin__:NODES", "watcher")
                    assert len(json.loads(nodes.result.single.value.data)["nodes"]) == 3
        async with call(servers[0].client) as caller:
            with pytest.raises(AssertionError, match="No authentication provided"):
                await caller.get(b"k")
    finally:
        kill_all(servers)
