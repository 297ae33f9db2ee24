"""What the operator makes of AmatersAccess objects, read by a real server that asks who calls."""

import asyncio
import base64
import signal
import time
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zlib import crc32

import pytest
from amaters.wire import aql_pb2, errors_pb2, query_pb2, types_pb2
from amaters_operator.kube import kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.accesses import access, apply, delete, read
from amaters_server.testing.processes import ServerProcess
from amaters_server.testing.tokens import Signer, jwks, new_key

pytestmark = pytest.mark.slow

DENIED = errors_pb2.ERROR_AUTH_INSUFFICIENT_PERMISSIONS
REFUSED = errors_pb2.ERROR_AUTH_FAILED
FOLDER = "/etc/amaters"
ISSUER = "https://kubernetes.default.svc.cluster.local"
SIGNER = Signer("ES256", new_key("ES256"), "k")


def pod(name: str, namespace: str = "shop") -> tuple[tuple[str, str]]:
    claims = {
        "sub": f"system:serviceaccount:{namespace}:{name}",
        "iss": ISSUER,
        "aud": ["amaters"],
        "exp": int(time.time()) + 3600,
    }
    return (("authorization", f"Bearer {SIGNER.token(claims)}"),)


def login(key: str) -> tuple[tuple[str, str]]:
    return (("x-api-key", key),)


@dataclass
class Node:
    """A real server with the files that the operator writes for a world's nodes."""

    driver: Driver
    server: ServerProcess
    folder: Path

    def write(self) -> None:
        """Write the ConfigMap as the kubelet does, and read the Secrets as users do."""
        store = self.driver.world.store
        data = store.get(kinds.CONFIG_MAP, "shop", "orders-config")["data"]
        for file in self.folder.iterdir():
            file.unlink()
        for name, text in data.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o440)
        config = tomllib.loads(data["config.toml"].replace(FOLDER, str(self.folder)))
        # Its API server is this test: the keys are given, and none are fetched.
        kubernetes = config["auth"]["kubernetes"]
        for name in ("token_file", "ca_file", "jwks_url"):
            del kubernetes[name]
        kubernetes["jwks"] = jwks(k=SIGNER.key)
        self.server.configure({"auth": config["auth"], "authz": config["authz"]})

    async def reload(self) -> None:
        self.write()
        before = self.server.log.count("config.reloaded")
        self.server.signal(signal.SIGHUP)
        for _ in range(100):
            await asyncio.sleep(0.05)
            if self.server.log.count("config.reloaded") > before:
                return
        raise AssertionError(self.server.log)

    async def passes(self, number: int) -> None:
        """Let the operator work, on the event loop of its own that it needs."""
        await asyncio.to_thread(self.driver.passes, number)

    async def settled(self, *names: str) -> None:
        """Let the operator work until these objects are in force."""
        await asyncio.to_thread(self._settled, *names)

    def _settled(self, *names: str) -> None:
        for _ in range(40):
            self.driver.once()
            found = [one for name in names for one in read(self.driver, name).status.conditions]
            if found and all(one.status == "True" for one in found if one.type == "Ready"):
                return
        raise AssertionError(names)

    def key(self, name: str) -> str:
        found = self.driver.world.store.get(kinds.SECRET, "shop", f"{name}-login")
        return base64.b64decode(found["data"]["api-key"]).decode()


@pytest.fixture
def driver() -> Driver:
    driver = Driver()
    # Keys end by the clock of the node, which is the real one: a renewal is ten days later.
    driver.world.now = datetime.now(UTC) - timedelta(days=10)
    driver.world.edit(
        replicas=3,
        authentication={"kubernetes": {"audience": "amaters"}, "apiKey": {}},
        authorization={"roles": [{"name": "none"}], "defaultRole": "none"},
    )
    driver.settled()
    return driver


@pytest.fixture
async def node(server, driver, tmp_path):
    folder = tmp_path / "mounted"
    folder.mkdir()
    made = Node(driver, server(), folder)
    made.write()
    made.server.start()
    await made.server.ready()
    return made


def key_of(collection: str, key: bytes, value: bytes | None) -> query_pb2.Query:
    at = types_pb2.Key(data=key)
    if value is None:
        return query_pb2.Query(get=query_pb2.GetQuery(collection=collection, key=at))
    metadata = types_pb2.CipherMetadata(size=len(value), checksum=crc32(value), created_at=1)
    blob = types_pb2.CipherBlob(data=value, metadata=metadata)
    return query_pb2.Query(set=query_pb2.SetQuery(collection=collection, key=at, value=blob))


async def asked(caller, query: query_pb2.Query, headers) -> int:
    request = aql_pb2.QueryRequest(query=query)
    return (await caller.stub.ExecuteQuery(request, metadata=headers, timeout=10)).error.code


async def rights(caller, headers) -> dict[str, int]:
    """Return the answer's code for writes and reads here and elsewhere; 0: it is done."""
    return {
        f"{verb} {collection} {key.decode()}": await asked(
            caller, key_of(collection, key, b"v" if verb == "write" else None), headers
        )
        for collection in ("orders", "prices")
        for key in (b"eu/1", b"us/1")
        for verb in ("read", "write")
    }


def exactly(*granted: str) -> dict[str, int]:
    every = [
        f"{verb} {collection} {key}"
        for collection in ("orders", "prices")
        for key in ("eu/1", "us/1")
        for verb in ("read", "write")
    ]
    return {one: 0 if one in granted else DENIED for one in every}


async def test_a_key_of_the_operator_logs_in_with_exactly_the_rights_of_its_object(
    node: Node, call
) -> None:
    apply(
        node.driver,
        access("reader", user={"name": "reader"}, verbs=["read"], prefixes=["eu/"]),
        access("writer", user={"name": "writer"}, collections=["pri*"]),
    )
    await node.settled("reader", "writer")
    await node.reload()
    async with call(node.server.client) as caller:
        assert await rights(caller, login(node.key("reader"))) == exactly("read orders eu/1")
        assert await rights(caller, login(node.key("writer"))) == exactly(
            "read prices eu/1", "write prices eu/1", "read prices us/1", "write prices us/1"
        )
        assert set((await rights(caller, login("amk_" + "a" * 43))).values()) == {REFUSED}

        gone = login(node.key("writer"))
        delete(node.driver, "writer")
        await node.passes(2)
        await node.reload()
        assert set((await rights(caller, gone)).values()) == {REFUSED}
        assert await rights(caller, login(node.key("reader"))) == exactly("read orders eu/1")


async def test_pods_log_in_with_their_token_until_their_object_is_deleted(node: Node, call) -> None:
    own = {"serviceAccounts": [{"name": "checkout"}, {"name": "cart"}]}
    apply(
        node.driver,
        access("checkout", **own, prefixes=["eu/"]),
        access("cart", serviceAccounts=[{"name": "cart"}], collections=["prices"], verbs=["read"]),
    )
    async with call(node.server.client) as caller:
        assert set((await rights(caller, pod("checkout"))).values()) == {REFUSED}

        await node.settled("checkout", "cart")
        await node.reload()
        both = ("read orders eu/1", "write orders eu/1")
        assert await rights(caller, pod("checkout")) == exactly(*both)
        assert await rights(caller, pod("cart")) == exactly(
            *both, "read prices eu/1", "read prices us/1"
        )
        assert set((await rights(caller, pod("checkout", "front"))).values()) == {REFUSED}

        delete(node.driver, "checkout")
        await node.passes(2)
        await node.reload()
        assert set((await rights(caller, pod("checkout"))).values()) == {REFUSED}
        assert await rights(caller, pod("cart")) == exactly("read prices eu/1", "read prices us/1")
        delete(node.driver, "cart")
        await node.passes(2)
        await node.reload()
        assert set((await rights(caller, pod("cart"))).values()) == {REFUSED}


async def test_a_renewed_key_and_the_one_before_work_through_the_overlap_and_not_after(
    node: Node, call
) -> None:
    user = {"name": "reporter", "renewAfter": "10d", "overlap": "2d"}
    apply(node.driver, access("reports", user=user))
    await node.settled("reports")
    first = node.key("reports")
    async with call(node.server.client) as caller:
        seen = [first]
        node.driver.world.now += timedelta(days=10)
        for _ in range(12):
            await node.reload()
            key = node.key("reports")
            seen += [] if key in seen else [key]
            for one in seen:
                assert await asked(caller, key_of("orders", b"a", b"v"), login(one)) == 0, one
            await node.passes(1)
        assert len(seen) == 2
        node.driver.world.now += timedelta(days=2)
        await node.passes(3)
        await node.reload()
        codes = [await asked(caller, key_of("orders", b"a", b"v"), login(one)) for one in seen]
        assert codes == [REFUSED, 0]
    assert first not in node.server.log
