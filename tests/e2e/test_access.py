"""AmatersAccess on a real Kubernetes: a pod without a Secret, and a user whose key is renewed."""

import base64
import json
from typing import Any

import pytest
from amaters_server.testing.certificates import Authority

from demo.clusters import SERVER_IMAGE, Cluster
from demo.keeping import tls_secret
from demo.kubectl import ROOT, CommandError, Kubectl, eventually

pytestmark = pytest.mark.e2e

AUDIENCE = "amaters"
RELOADED = 180
"""Seconds that files take into every pod, by the kubelet's default."""
STRICT = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def access(name: str, cluster: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "amaters.io/v1alpha1",
        "kind": "AmatersAccess",
        "metadata": {"name": name},
        "spec": {"clusterName": cluster, "collections": ["orders"], "verbs": ["write"]} | spec,
    }


def caller(name: str, *sources: dict[str, Any]) -> dict[str, Any]:
    """A pod with what it logs in with under /login."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "serviceAccountName": name,
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "caller",
                    "image": SERVER_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "1800"],
                    "securityContext": STRICT,
                    "volumeMounts": [{"name": "login", "mountPath": "/login", "readOnly": True}],
                }
            ],
            "volumes": [{"name": "login", "projected": {"sources": list(sources)}}],
        },
    }


def call(kubectl: Kubectl, pod: str, server: str, collection: str, *command: str) -> str:
    login = {"--token-file": "/login/token"}
    if pod == "reporter":
        login = {"--api-key-file": "/login/api-key"}
    options = [part for pair in login.items() for part in pair]
    cli = ("amaters-cli", "--server", server, "--ca-cert", "/login/ca.crt", *options)
    return kubectl("exec", pod, "--", *cli, "--collection", collection, *command)


def in_force(kubectl: Kubectl, *names: str) -> None:
    for name in names:
        kubectl(
            "wait", f"ama/{name}", "--for=condition=Ready", f"--timeout={RELOADED}s",
            timeout=RELOADED + 10,
        )  # fmt: skip


def ready(kubectl: Kubectl, name: str) -> dict[str, str]:
    found = kubectl.get("ama", name).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == "Ready"), {})


def key(kubectl: Kubectl) -> str:
    data = kubectl.get("secret", "reporter-login")["data"]
    return base64.b64decode(data["api-key"]).decode()


@pytest.fixture
def guarded(cluster, operator: Kubectl) -> Cluster:
    crds = str(ROOT / "crds")
    operator("apply", "--server-side", "--force-conflicts", "--filename", crds)
    authority = Authority("e2e-ca")
    namespace = operator.namespace
    issued = authority.issue(
        names=(f"guarded.{namespace}.svc", f"*.guarded-peers.{namespace}.svc"),
    )
    public = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "guarded-ca"},
        "data": {"ca.crt": authority.pem.decode()},
    }
    operator.apply(tls_secret("guarded-certificate", issued, authority), public)
    issuer = json.loads(operator("get", "--raw", "/.well-known/openid-configuration"))["issuer"]
    made = cluster(
        "guarded",
        replicas=3,
        tls={"secretName": "guarded-certificate"},
        authentication={"kubernetes": {"audience": AUDIENCE, "issuer": issuer}, "apiKey": {}},
        authorization={"roles": [{"name": "none"}], "defaultRole": "none"},
    )
    made.until_ready(3)
    yield made
    operator("delete", "ama", "checkout", "reporter", "--ignore-not-found")
    pods = "pod,serviceaccount"
    operator("delete", pods, "checkout", "reporter", "--ignore-not-found", "--wait=false")


def give(guarded: Cluster, operator: Kubectl, **user: Any) -> str:
    """Give a pod without a Secret and a user with a key their rights; return the server."""
    names = ("checkout", "reporter")
    token = {"audience": AUDIENCE, "path": "token", "expirationSeconds": 600}
    authority = {"configMap": {"name": "guarded-ca"}}
    operator.apply(
        *({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": n}} for n in names),
        access("checkout", "guarded", serviceAccounts=[{"name": "checkout"}], prefixes=["eu/"]),
        access("reporter", "guarded", user={"name": "reporter", **user}, verbs=["read"]),
    )
    operator.apply(
        caller("checkout", {"serviceAccountToken": token}, authority),
        caller("reporter", {"secret": {"name": "reporter-login"}}, authority),
    )
    in_force(operator, *names)
    operator("wait", "pod", *names, "--for=condition=Ready", "--timeout=120s", timeout=130)
    return f"guarded.{operator.namespace}.svc:7878"


def assert_nowhere_shown(operator: Kubectl, *keys: str) -> None:
    shown = operator("get", "ama,amc,configmaps,events,pods", "--output", "json")
    logs = operator("logs", "--selector", "app.kubernetes.io/name=amaters-operator", "--tail=-1")
    for secret in keys:
        for text in (secret, base64.b64encode(secret.encode()).decode()):
            assert text not in shown
            assert text not in logs


@pytest.mark.ipv6
def test_a_pod_without_a_secret_and_a_user_with_a_key_have_what_their_objects_say(
    guarded: Cluster, operator: Kubectl
) -> None:
    before = {name: pod["metadata"]["uid"] for name, pod in guarded.pods.items()}
    server = give(guarded, operator)

    call(operator, "checkout", server, "orders", "set", "eu/1", "hello")
    with pytest.raises(CommandError) as prefix:
        call(operator, "checkout", server, "orders", "set", "us/1", "hello")
    with pytest.raises(CommandError) as other:
        call(operator, "checkout", server, "prices", "get", "eu/1")
    assert "hello" in call(operator, "reporter", server, "orders", "get", "eu/1")
    with pytest.raises(CommandError) as write:
        call(operator, "reporter", server, "orders", "set", "eu/1", "no")
    with pytest.raises(CommandError) as nameless:
        guarded.cli("get", "eu/1")

    for refused in (prefix, other):
        assert "with role 'access:checkout' not authorized" in str(refused.value)
    assert "User 'reporter' with role 'access:reporter' not authorized" in str(write.value)
    assert "No authentication provided" in str(nameless.value)
    assert_nowhere_shown(operator, key(operator))

    operator("delete", "ama", "checkout")

    def gone() -> bool:
        try:
            call(operator, "checkout", server, "orders", "get", "eu/1")
        except CommandError as refused:
            return "has no role here" in str(refused)
        return False

    eventually("the rights end with the object", gone, within=RELOADED)
    operator("delete", "ama", "reporter")
    eventually(
        "the Secret is collected",
        lambda: not operator("get", "secret", "reporter-login", "--ignore-not-found"),
        within=60,
    )
    after = {name: pod["metadata"]["uid"] for name, pod in guarded.pods.items()}
    assert after == before, "no pod has restarted"


@pytest.mark.nightly
def test_a_renewed_key_works_at_every_moment_without_a_restart(
    guarded: Cluster, operator: Kubectl
) -> None:
    before = {name: pod["metadata"]["uid"] for name, pod in guarded.pods.items()}
    server = give(guarded, operator, renewAfter="3m", overlap="2m")
    call(operator, "checkout", server, "orders", "set", "eu/1", "hello")
    first = key(operator)
    failed: list[str] = []

    def renewed() -> bool:
        # Whatever key is in the pod's file works at every moment.
        try:
            call(operator, "reporter", server, "orders", "get", "eu/1")
        except CommandError as error:
            failed.append(str(error))
        return key(operator) != first

    eventually("the key is renewed", renewed, within=RELOADED + 300)
    assert failed == []
    assert_nowhere_shown(operator, first, key(operator))
    after = {name: pod["metadata"]["uid"] for name, pod in guarded.pods.items()}
    assert after == before, "no pod has restarted"


def test_what_cannot_be_given_is_named_with_its_reason(guarded: Cluster, operator: Kubectl) -> None:
    foreign = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "reporter-login"}}
    operator.apply(
        foreign | {"stringData": {"mine": "1"}},
        access("reporter", "guarded", user={"name": "reporter"}),
        access("checkout", "nowhere", serviceAccounts=[{"name": "checkout"}]),
    )
    try:
        eventually(
            "the foreign Secret is named",
            lambda: ready(operator, "reporter").get("reason") == "SecretNameTaken",
            within=30,
        )
        eventually(
            "the missing cluster is named",
            lambda: ready(operator, "checkout").get("reason") == "ClusterNotFound",
            within=30,
        )
        assert list(operator.get("secret", "reporter-login")["data"]) == ["mine"]
        with pytest.raises(CommandError) as refused:
            operator.apply(access("checkout", "guarded", serviceAccounts=[{"name": "checkout"}]))
        assert "clusterName cannot be changed" in str(refused.value)
    finally:
        operator("delete", "secret", "reporter-login")
    in_force(operator, "reporter")
