"""AmatersAccess objects at a real API server: its rules, the table, and the Secrets of users."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.api.scalars import timestamp_text
from amaters_operator.controllers.access.accesses import Accesses, Found
from amaters_operator.kube.client import connect
from amaters_operator.kube.errors import ConflictError
from amaters_operator.manifests.access_secret import digest_of
from kubernetes.aio.config import kube_config
from testbed import api_server
from testbed.api_server import ApiServer
from testbed.shell import CommandFailedError, wait_until

ROOT = Path(__file__).parents[2]
BINARIES = ROOT / ".cache" / "testbed" / "bin"

built = all((BINARIES / name).exists() for name in api_server.NEEDED)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not built, reason="not built: run `make cluster-up`"),
]

ORDERS = AmatersCluster.model_validate(
    {
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u"},
        "spec": {
            "image": "amaters:1",
            "authentication": {"kubernetes": {"audience": "amaters"}, "apiKey": {}},
        },
    }
)


def access(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "amaters.io/v1alpha1",
        "kind": "AmatersAccess",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterName": "orders", "collections": ["orders"], "verbs": ["write"]} | spec,
    }


USER = access("reports", user={"name": "reporter", "renewAfter": "5m", "overlap": "2m"})
PODS = access("checkout", serviceAccounts=[{"name": "checkout"}, {"name": "b", "namespace": "c"}])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server.serving(BINARIES, tmp_path_factory.mktemp("api")) as running:
        running.kubectl("create", "namespace", "shop")
        running.kubectl("apply", "--server-side", "-f", ROOT / "crds")
        wait_until(lambda: served(running), "AmatersAccess", seconds=20)
        yield running


def served(server: ApiServer) -> bool:
    try:
        server.kubectl("get", "ama,amc", "--output", "name")
    except CommandFailedError:
        return False
    return True


@pytest.fixture
def empty(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> ApiServer:
    server.kubectl("delete", "ama,secret", "--all", "--namespace", "shop")
    # The library has read KUBECONFIG when it was imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(server.kubeconfig))
    return server


def secret(server: ApiServer) -> dict[str, Any]:
    return json.loads(server.kubectl("get", "secret", "reports-login", "--output", "json"))


def key(server: ApiServer) -> str:
    return base64.b64decode(secret(server)["data"]["api-key"]).decode()


async def passed(behind: str = "") -> Found:
    """Make the part of a pass that is about these objects."""
    async with connect() as kube:
        accesses = Accesses(kube)
        found = await accesses.find(ORDERS)
        await accesses.report(found, behind)
        return found


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"user": {"name": "a:b"}}, "write a name of lower-case letters"),
        ({"user": {"name": "a", "renewAfter": "soon"}}, "write a time above zero"),
        ({"user": {"name": "a", "renewAfter": "7d"}}, "overlap must be shorter than renewAfter"),
        ({"user": {"name": "a", "renewAfter": "1d", "overlap": "24h"}}, "overlap must be shorter"),
        ({"user": {"name": "a", "renewAfter": "61m", "overlap": "1h"}}, ""),
        ({"user": {"name": "a", "renewAfter": "1d1s", "overlap": "23h60m"}}, ""),
        ({"user": {"name": "a", "renewAfter": "1d", "overlap": "23h60m"}}, "must be shorter"),
        ({"user": {"name": "a", "renewAfter": "59s", "overlap": "1s"}}, "a minute or more"),
        ({"serviceAccounts": [{"name": "a"}]}, "name who: either serviceAccounts, or a user"),
        ({"user": {"name": "a"}, "serviceAccounts": []}, ""),
        ({"verbs": ["admin"]}, "Unsupported value"),
        ({"collections": ["a\nb"]}, "spec.collections[0]"),
        ({"prefixesHex": ["0"]}, "spec.prefixesHex[0]"),
    ],
)
def test_the_api_server_refuses_what_means_nothing(
    empty: ApiServer, changed: dict[str, Any], said: str
) -> None:
    refused = empty.refuses([USER | {"spec": USER["spec"] | changed}])

    assert said in refused
    assert (said == "") == (refused == "")


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        (USER, access("reports", serviceAccounts=[{"name": "a"}]), "stays one of serviceAccounts"),
        (PODS, PODS | {"spec": PODS["spec"] | {"clusterName": "b"}}, "clusterName cannot be"),
    ],
)
def test_what_an_object_is_about_stays(empty: ApiServer, first, then, said) -> None:
    empty.apply([first])

    assert said in empty.refuses([then])


async def test_a_user_gets_a_secret_and_the_table_says_so(empty: ApiServer) -> None:
    empty.apply([USER, PODS])
    found = await passed("on its way")
    table = empty.kubectl("get", "ama")
    await passed()
    after = empty.kubectl("get", "ama")

    made = secret(empty)
    assert made["type"] == "amaters.io/api-key"
    assert made["metadata"]["labels"]["amaters.io/access"] == "reports"
    assert [one.keys[0].digest for one in found.grants if one.keys] == [digest_of(key(empty))]
    assert [line.split()[:5] for line in table.splitlines()[1:]] == [
        ["checkout", "checkout,", "c/b", "orders", "False"],
        ["reports", "reporter", "orders", "False", "Loading"],
    ]
    assert "NamespaceNotAllowed" in table
    assert after.splitlines()[2].split()[3:6] == ["True", "InForce", "reports-login"]
    assert empty.kubectl("wait", "ama/reports", "--for=condition=Ready", "--timeout=5s")


async def test_a_renewal_is_three_writes_of_one_secret(empty: ApiServer) -> None:
    empty.apply([USER])
    await passed()
    first, version = key(empty), secret(empty)["metadata"]["resourceVersion"]
    await passed()
    assert secret(empty)["metadata"]["resourceVersion"] == version, "nothing was due"

    annotate(empty, "issued-at", timedelta(minutes=5))
    await passed("on its way")
    assert set(secret(empty)["data"]) == {"api-key", "next-api-key", "user", "server"}
    assert key(empty) == first
    await passed("on its way")
    assert key(empty) == first, "no node knows the next key for certain"
    await passed()
    await passed()
    second = key(empty)
    assert second != first
    assert set(secret(empty)["data"]) == {"api-key", "previous-key-hash", "user", "server"}

    annotate(empty, "previous-key-ends", timedelta(minutes=1))
    await passed()
    assert set(secret(empty)["data"]) == {"api-key", "user", "server"}
    assert key(empty) == second


def annotate(server: ApiServer, name: str, ago: timedelta) -> None:
    """Let time go by, as the Secret has it."""
    note = f"amaters.io/{name}={timestamp_text(datetime.now(UTC) - ago)}"
    server.kubectl("annotate", "secret", "reports-login", "--overwrite", note)


async def test_foreign_and_recreated_secrets_are_left_alone(empty: ApiServer) -> None:
    empty.kubectl("create", "secret", "generic", "reports-login", "--from-literal=mine=1")
    empty.apply([USER])
    found = await passed()
    assert [one.refusal and one.refusal.reason for one in found.outcomes] == ["SecretNameTaken"]
    assert list(secret(empty)["data"]) == ["mine"]

    read = secret(empty)["metadata"]
    bare = {"apiVersion": "v1", "kind": "Secret"}
    meta = {"name": "reports-login", "namespace": "shop"}
    other = {"uid": "9b3c34b4-6f4f-4a4f-9d7a-1c5d4a1c5d4a"}
    async with connect() as kube:
        with pytest.raises(ConflictError):
            await kube.create(bare | {"metadata": meta})
        for wrong in ({"resourceVersion": "1"}, {"resourceVersion": "1"} | other, other):
            stale = {"uid": read["uid"], "resourceVersion": read["resourceVersion"]} | wrong
            with pytest.raises(ConflictError):
                await kube.apply(bare | {"metadata": meta | stale})
        empty.kubectl("delete", "secret", "reports-login")
        gone = {"uid": read["uid"], "resourceVersion": read["resourceVersion"]}
        with pytest.raises(ConflictError):
            await kube.apply(bare | {"metadata": meta | gone})


async def test_an_immutable_secret_is_named(empty: ApiServer) -> None:
    empty.apply([USER])
    await passed()
    empty.kubectl("patch", "secret", "reports-login", "--patch", '{"immutable": true}')
    annotate(empty, "issued-at", timedelta(minutes=5))
    found = await passed()

    [outcome] = found.outcomes
    assert outcome.refusal is not None
    assert outcome.refusal.reason == "SecretRefused"
    assert outcome.grant is not None, "the key that there is goes on working"
