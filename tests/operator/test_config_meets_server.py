"""The configuration that the operator writes is one that the server takes."""

from pathlib import Path

import pytest
from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import config, names
from amaters_server.config.load import Sources, load


def cluster(**spec) -> AmatersCluster:
    return AmatersCluster.model_validate(
        {
            "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1"},
            "spec": {"image": "amaters:1"} | spec,
        }
    )


SPECS = {
    "plain": {},
    "tls": {"tls": {"secretName": "s", "requireClientCert": True}},
    "administered": {"tls": {"secretName": "s", "adminSecretName": "a"}},
    "backup": {
        "backup": {
            "destination": "s3://b/p",
            "endpointUrl": "https://s3.example",
            "addressingStyle": "path",
            "serverSideEncryption": "AES256",
            "allowedDestinations": ["s3://b/q"],
        }
    },
    "restored": {
        "backup": {"destination": "s3://b/p"},
        "bootstrap": {"restoreFrom": "s3://b/old/remote-snapshot-00000010000000004000.bin"},
    },
    "alone": {"replicas": 1},
    "tuned": {
        "config": {
            "logging": {"level": "debug", "format": "pretty"},
            "limits": {"maxConnections": 9, "requestTimeoutMs": 100},
            "cluster": {"heartbeatIntervalMs": 10, "electionTimeoutMs": 100},
        }
    },
    "alerted": {"alerts": {"slowReplicationEntries": 5, "dedupWindowSeconds": 60}},
}


@pytest.mark.parametrize("formed", [False, True])
@pytest.mark.parametrize("spec", SPECS)
def test_the_server_takes_it(tmp_path: Path, spec: str, formed: bool) -> None:
    orders = cluster(**SPECS[spec])
    shape = manifests.Shape(
        replicas=orders.spec.replicas,
        initial_members=manifests.initial_members(orders),
        formed=formed,
        volume_size="1Gi",
    )
    file = tmp_path / "config.toml"
    file.write_text(config.rendered(orders, shape))
    flags = {
        "cluster.advertise_address": names.peer_address(orders, 0),
        "cluster.client_advertise_address": names.client_address(orders, 0),
        "cluster.name": "orders-0",
    }

    loaded = load(Sources(path=file, flags=flags))

    assert loaded.notices == ()
    assert loaded.settings.cluster.token.get_secret_value() == "uid-1"
    assert loaded.settings.cluster.bind_address == "0.0.0.0:7879"
    assert len(loaded.settings.cluster.peers) == (0 if formed else orders.spec.replicas)


def test_the_webhook_reaches_the_server_as_a_mounted_file(tmp_path: Path) -> None:
    orders = cluster(alerts={"webhookSecretName": "pager"})
    shape = manifests.Shape(
        replicas=3,
        initial_members=manifests.initial_members(orders),
        formed=True,
        volume_size="1Gi",
    )
    made = manifests.statefulset(orders, shape)["spec"]["template"]["spec"]
    [container] = made["containers"]
    sources = made["volumes"][0]["projected"]["sources"]
    [secret] = [one["secret"] for one in sources if one.get("secret", {}).get("name") == "pager"]
    file = tmp_path / "config.toml"
    file.write_text(config.rendered(orders, shape))
    flags = {
        "cluster.advertise_address": names.peer_address(orders, 0),
        "cluster.client_advertise_address": names.client_address(orders, 0),
    }

    loaded = load(Sources(path=file, flags=flags))
    [item] = secret["items"]

    assert {one["name"] for one in container["env"]} == {"POD_NAME", "POD_NAMESPACE"}
    assert (item["key"], secret["optional"]) == ("url", True)
    mounted = f"{container['volumeMounts'][1]['mountPath']}/{item['path']}"
    assert str(loaded.settings.alerts.webhook_url_file) == mounted
