"""The configuration that the operator writes is one that the server takes."""

import dataclasses
import tomllib
from pathlib import Path

import pytest
from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import config, names
from amaters_server.access import roles
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
    "backup by role": {
        "backup": {
            "destination": "s3://b/p",
            "serverSideEncryption": "aws:kms",
            "kmsKeyId": "alias/backups",
            "caSecretName": "store-ca",
            "webIdentity": {
                "roleArn": "arn:aws:iam::123456789012:role/backups",
                "audience": "store",
                "stsEndpointUrl": "https://sts.example",
            },
        }
    },
    "restored": {
        "backup": {"destination": "s3://b/p"},
        "bootstrap": {"restoreFrom": "s3://b/old/remote-snapshot-00000010000000004000.bin"},
    },
    "alone": {"replicas": 1},
    "gateway": {
        "gateway": {
            "enabled": True,
            "corsOrigins": ["https://app.example"],
            "maxBodyBytes": 2048,
            "maxConnections": 9,
        }
    },
    "tuned": {
        "config": {
            "logging": {"level": "debug", "format": "pretty"},
            "limits": {
                "maxConnections": 9,
                "requestTimeoutMs": 100,
                "callsPerSecond": 500,
                "callsPerSecondPerClient": 50,
            },
            "cluster": {"heartbeatIntervalMs": 10, "electionTimeoutMs": 100},
        }
    },
    "authenticated": {
        "tls": {"secretName": "s", "requireClientCert": True},
        "authentication": {
            "kubernetes": {
                "audience": "amaters",
                "roles": {"system:serviceaccount:shop:*": ["writer"]},
            },
            "jwt": {"jwksUrl": "https://issuer.example/keys", "audience": "amaters"},
            "apiKey": {"secretName": "keys"},
            "mtls": {"allowedOrganizations": ["shop"], "roles": {"dns:*.shop.svc": ["reader"]}},
        },
        "authorization": {"defaultRole": "reader"},
        "audit": {"destination": "Volume", "onFailure": "block", "record": "all"},
    },
    "shared secret": {
        "tls": {"secretName": "s"},
        "authentication": {"jwt": {"secretName": "jwt", "algorithms": ["HS256", "HS512"]}},
    },
    "public keys": {
        "tls": {"secretName": "s"},
        "authentication": {"jwt": {"secretName": "jwt", "algorithms": ["EdDSA"], "issuer": "i"}},
        "authorization": {"anonymousRole": "reader"},
    },
    "traced": {"config": {"telemetry": {"tracing": {"endpoint": "http://collector:4318"}}}},
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


ROLES = [
    {"name": "unassigned", "description": "may do nothing"},
    {
        "name": "reports",
        "permissions": [
            {
                "resource": "collection:orders",
                "actions": ["read"],
                "keyPrefixes": ["eu/"],
                "keyPrefixesHex": ["ff00"],
            },
            {"resource": "server", "actions": ["read"]},
        ],
    },
    {
        "name": "billing",
        "inherits": ["reports"],
        "permissions": [{"resource": "collection:billing-*", "actions": ["write"]}],
    },
]


def test_the_server_reads_the_roles_of_the_spec(tmp_path: Path) -> None:
    orders = cluster(
        authentication={"apiKey": {"secretName": "keys"}},
        authorization={"roles": ROLES, "defaultRole": "unassigned"},
    )
    shape = manifests.Shape(3, manifests.initial_members(orders), formed=True, volume_size="1Gi")
    data = config.config_map(orders, shape)["data"]
    file = tmp_path / "roles.toml"
    file.write_text(data["roles.toml"])

    found = roles.load(file)

    assert 'roles_file = "/etc/amaters/roles.toml"' in data["config.toml"]
    reads = (
        roles.Rule("collection:orders", roles.Level.READ, (b"eu/", b"\xff\x00")),
        roles.Rule("server", roles.Level.READ),
    )
    assert found["unassigned"] == ()
    assert found["reports"] == reads
    assert found["billing"] == (
        roles.Rule("collection:billing-*", roles.Level.WRITE),
        *reads,
    )


AUTHENTICATED = {
    "kubernetes": {"audience": "amaters", "roles": {"system:serviceaccount:shop:*": ["user"]}},
    "jwt": {"secretName": "jwt", "algorithms": ["HS256"]},
    "apiKey": {"secretName": "keys"},
}


def test_every_file_that_the_configuration_of_logins_names_is_in_the_pod() -> None:
    orders = cluster(
        authentication=AUTHENTICATED,
        authorization={"roles": ROLES, "defaultRole": "unassigned"},
    )
    shape = manifests.Shape(3, manifests.initial_members(orders), formed=True, volume_size="1Gi")
    template = manifests.statefulset(orders, shape)["spec"]["template"]["spec"]
    there = set(config.config_map(orders, shape)["data"])
    for source in template["volumes"][0]["projected"]["sources"]:
        [(kind, one)] = source.items()
        assert kind == "serviceAccountToken" or one["name"] != "keys" or "optional" not in one
        there |= {one["path"]} if "path" in one else {i["path"] for i in one.get("items", [])}
    auth = tomllib.loads(config.rendered(orders, shape))["auth"]
    named = {
        auth["kubernetes"]["token_file"],
        auth["kubernetes"]["ca_file"],
        auth["jwt"]["secret_file"],
        auth["api_key"]["keys_file"],
        config.sections(orders, shape)["authz"]["roles_file"],
    }

    assert {name.removeprefix("/etc/amaters/") for name in named} <= there
    assert template["automountServiceAccountToken"] is False


def test_what_a_reload_applies_restarts_nothing() -> None:
    """Roles, methods without a Secret, and corrected Secrets; the switch and the audit do."""
    shape = manifests.Shape(3, (), formed=True, volume_size="1Gi")

    def hashed(secrets: tuple[str, ...] = (), **spec) -> str:
        return config.restart_hash(
            cluster(**spec), dataclasses.replace(shape, login_secrets=secrets)
        )

    on = {"authentication": AUTHENTICATED}
    authorized = {"authorization": {"roles": ROLES, "defaultRole": "unassigned"}}

    assert hashed(**on) == hashed(("keys 2",), **on | authorized)
    assert hashed(**on) == hashed(
        authentication=AUTHENTICATED | {"jwt": {"jwksUrl": "https://issuer.example/keys"}}
    )
    assert hashed() != hashed(**on)
    assert hashed(**on) != hashed(**on, audit={"destination": "Volume"})
    assert hashed(**on) != hashed(**on, audit={"record": "all"})


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


def test_rates_of_calls_arrive_and_those_not_set_are_not_written():
    shape = manifests.Shape(replicas=3, initial_members=(), formed=True, volume_size="1Gi")
    limits = {"callsPerSecond": 500, "callsPerSecondPerClient": 50}
    with_rates = config.sections(cluster(config={"limits": limits}), shape)["resource_limits"]
    without = config.sections(cluster(), shape)["resource_limits"]

    assert with_rates["max_requests_per_second_global"] == 500
    assert with_rates["max_requests_per_second_per_client"] == 50
    assert set(without) == {"max_connections_per_client"}


def test_telemetry_is_written_when_it_is_wanted_and_only_traces_restart() -> None:
    shape = manifests.Shape(replicas=3, initial_members=(), formed=True, volume_size="1Gi")
    logged = cluster(config={"telemetry": {"requestLog": {"mode": "sampled", "slowMs": 500}}})
    tracing = {"endpoint": "http://collector:4318", "samplePercent": 5}
    traced = cluster(config={"telemetry": {"tracing": tracing}})

    # Nodes of an older version do not know the table.
    assert "telemetry" not in config.sections(cluster(), shape)
    assert config.sections(logged, shape)["telemetry"] == {
        "requests": {"mode": "sampled", "sample_ratio": 0.01, "slow_ms": 500}
    }
    assert config.sections(traced, shape)["telemetry"] == {
        "tracing": {"enabled": True, "endpoint": "http://collector:4318", "sample_ratio": 0.05}
    }
    plain, with_log, with_traces = (
        config.restart_hash(one, shape) for one in (cluster(), logged, traced)
    )
    assert plain == with_log != with_traces
