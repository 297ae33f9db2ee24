"""Whole manifests against files; rewrite them with `AMATERS_REWRITE_GOLDEN=1 pytest`."""

import os
from pathlib import Path

import pytest
import yaml
from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster

GOLDEN = Path(__file__).parent / "golden"

MINIMAL = {"image": "amaters-server:0.3.0"}
FULL = {
    "image": "registry.example/amaters-server:0.3.1",
    "imagePullPolicy": "Always",
    "imagePullSecrets": ["pull"],
    "replicas": 5,
    "storage": {
        "size": "100Gi",
        "className": "fast",
        "whenDeleted": "Delete",
        "whenScaled": "Retain",
    },
    "resources": {"requests": {"cpu": 2, "memory": "4Gi"}, "limits": {"memory": "8Gi"}},
    "config": {
        "logging": {"level": "debug", "format": "compact"},
        "storage": {"memtableSizeMb": 128, "blockCacheSizeMb": 2048},
        "limits": {"maxConnections": 5000},
        "cluster": {"heartbeatIntervalMs": 50, "electionTimeoutMs": 500},
    },
    "tls": {"secretName": "orders-tls", "requireClientCert": True},
    "authentication": {
        "kubernetes": {
            "audience": "amaters",
            "roles": {"system:serviceaccount:shop:*": ["user"]},
        },
        "jwt": {"secretName": "issuer", "issuer": "https://issuer.example"},
        "apiKey": {"secretName": "api-keys"},
        "mtls": {"roles": {"dns:*.shop.svc": ["reader"]}},
    },
    "authorization": {"defaultRole": "reader"},
    "audit": {"destination": "Volume"},
    "service": {"type": "LoadBalancer", "annotations": {"lb.example/internal": "true"}},
    "scheduling": {
        "onePerNode": "Required",
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "db", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{"topologyKey": "topology.kubernetes.io/zone"}],
        "priorityClassName": "database",
    },
    "monitoring": {"interval": "10s", "labels": {"release": "prometheus"}},
    "alerts": {"slowReplicationEntries": 5, "webhookSecretName": "pager"},
    "backup": {
        "destination": "s3://backups/orders",
        "endpointUrl": "https://s3.example",
        "credentialsSecretName": "s3",
        "addressingStyle": "path",
        "schedule": "0 3 * * *",
        "timeZone": "Europe/Berlin",
    },
    "terminationGracePeriodSeconds": 120,
    "podAnnotations": {"team": "orders"},
    "podLabels": {"cost": "42", "app.kubernetes.io/name": "not-yours"},
}

PLATFORM = {
    "image": "amaters-server@sha256:" + "0a" * 32,
    "networking": {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]},
    "networkPolicy": {
        "enabled": True,
        "clients": [
            {"podSelector": {"matchLabels": {"app": "checkout"}}},
            {"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.9/32"]}},
        ],
        "administrators": [{"namespaceSelector": {}, "podSelector": {}}],
    },
    "podSecurity": {"userIds": "Assigned", "container": {"runAsNonRoot": True}},
}
OPERATOR = manifests.OperatorPods("systems", {"app.kubernetes.io/name": "amaters-operator"})


def cluster(spec: dict, **status) -> AmatersCluster:
    return AmatersCluster.model_validate(
        {
            "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1"},
            "spec": spec,
            "status": status,
        }
    )


def shape(of: AmatersCluster, **changes) -> manifests.Shape:
    given = {
        "replicas": of.spec.replicas,
        "initial_members": manifests.initial_members(of),
        "formed": False,
        "volume_size": of.spec.storage.size,
        "home": manifests.Home(OPERATOR),
    }
    return manifests.Shape(**(given | changes))


@pytest.mark.parametrize(
    ("name", "spec"), [("minimal", MINIMAL), ("full", FULL), ("platform", PLATFORM)]
)
def test_manifests_are_what_the_golden_file_says(name: str, spec: dict) -> None:
    orders = cluster(spec)
    made = yaml.safe_dump_all(
        manifests.desired(orders, shape(orders), monitors=name == "full"), sort_keys=False
    )
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("AMATERS_REWRITE_GOLDEN"):
        path.write_text(made)

    assert made == path.read_text()
