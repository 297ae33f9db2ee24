"""Pods log in with their ServiceAccount tokens: own collection, another one, and the audit log."""

import json
from typing import Any

import pytest
from amaters_server.testing.certificates import Authority

from demo.clusters import SERVER_IMAGE, Cluster
from demo.keeping import tls_secret
from demo.kubectl import CommandError, Kubectl, eventually

pytestmark = pytest.mark.e2e

AUDIENCE = "amaters"
ROLES = [
    {"name": "unassigned"},
    {
        "name": "orders",
        "permissions": [{"resource": "collection:orders", "actions": ["write"]}],
    },
]
STRICT = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def caller(account: str, authority: str) -> dict[str, Any]:
    """A pod without any Secret: a token from the kubelet, and the public certificate of the CA."""
    token = {"audience": AUDIENCE, "path": "token", "expirationSeconds": 600}
    sources = [{"serviceAccountToken": token}, {"configMap": {"name": authority}}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": account},
        "spec": {
            "serviceAccountName": account,
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
                    "command": ["sleep", "600"],
                    "securityContext": STRICT,
                    "volumeMounts": [
                        {"name": "login", "mountPath": "/login", "readOnly": True},
                    ],
                }
            ],
            "volumes": [{"name": "login", "projected": {"sources": sources}}],
        },
    }


def call(kubectl: Kubectl, cluster: Cluster, account: str, collection: str, *command: str) -> str:
    service = f"{cluster.name}.{kubectl.namespace}.svc:7878"
    login = ("--ca-cert", "/login/ca.crt", "--token-file", "/login/token")
    cli = ("amaters-cli", "--server", service, *login, "--collection", collection, *command)
    return kubectl("exec", account, "--", *cli)


def audited(kubectl: Kubectl, cluster: Cluster) -> list[dict[str, Any]]:
    """The audit log of all members, which is in their pods' logs."""
    lines = [line for pod in cluster.pods for line in kubectl("logs", pod).splitlines()]
    return [json.loads(json.loads(line)["audit"]) for line in lines if '"audit"' in line]


def test_a_pod_without_a_secret_writes_to_its_own_collection_alone(
    cluster, operator: Kubectl
) -> None:
    namespace = operator.namespace
    authority = Authority("e2e-ca")
    issued = authority.issue(
        names=(f"logins.{namespace}.svc", f"*.logins-peers.{namespace}.svc"),
    )
    secret = tls_secret("logins-certificate", issued, authority)
    accounts = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        for name in ("checkout", "stranger")
    ]
    public = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "logins-ca"},
        "data": {"ca.crt": authority.pem.decode()},
    }
    operator.apply(secret, public, *accounts)
    operator.apply(*(caller(name, "logins-ca") for name in ("checkout", "stranger")))
    issuer = json.loads(operator("get", "--raw", "/.well-known/openid-configuration"))["issuer"]
    name = f"system:serviceaccount:{namespace}:checkout"
    logins = cluster(
        "logins",
        replicas=3,
        tls={"secretName": "logins-certificate"},
        authentication={
            "kubernetes": {"audience": AUDIENCE, "issuer": issuer, "roles": {name: ["orders"]}}
        },
        authorization={"roles": ROLES, "defaultRole": "unassigned"},
        audit={"record": "all"},
    )
    logins.until_ready(3)
    try:
        call(operator, logins, "checkout", "orders", "set", "a", "1")
        with pytest.raises(CommandError) as other:
            call(operator, logins, "checkout", "prices", "set", "a", "1")
        with pytest.raises(CommandError) as stranger:
            call(operator, logins, "stranger", "orders", "get", "a")
        with pytest.raises(CommandError) as nameless:
            logins.cli("get", "a")
        read = call(operator, logins, "checkout", "orders", "get", "a")

        def both() -> bool:
            mine = [
                (one.get("resource"), one["result"])
                for one in audited(operator, logins)
                if one.get("principal", {}).get("name") == name
            ]
            own, another = ('Collection("orders")', "success"), ('Collection("prices")', "denied")
            return own in mine and another in mine

        eventually("both are in the audit log", both, within=20)
    finally:
        operator("delete", "pod,serviceaccount", "checkout", "stranger", "--wait=false")
    assert "1" in read
    assert f"User '{name}' with role 'orders' not authorized to Write" in str(other.value)
    assert "no role of yours grants write on collection:prices" in str(other.value)
    assert "auth.kubernetes.roles" in str(stranger.value)
    assert "No authentication provided" in str(nameless.value)
