import hashlib
import tomllib

import pytest
from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.manifests import config, names, pod_template
from amaters_operator.manifests.service_monitor import service_monitor
from hypothesis import given
from hypothesis import strategies as st


def cluster(**spec) -> AmatersCluster:
    return AmatersCluster.model_validate(
        {
            "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1"},
            "spec": {"image": "amaters:1"} | spec,
        }
    )


def shape(of: AmatersCluster, **changes) -> manifests.Shape:
    given = {
        "replicas": of.spec.replicas,
        "initial_members": manifests.initial_members(of),
        "formed": False,
        "volume_size": of.spec.storage.size,
    }
    return manifests.Shape(**(given | changes))


def hashed(orders: AmatersCluster, **changes) -> str:
    return config.restart_hash(orders, shape(orders, **changes))


def test_everything_is_owned_labelled_and_in_the_namespace() -> None:
    orders = cluster()

    for made in manifests.desired(orders, shape(orders), monitors=True):
        meta = made["metadata"]
        assert meta["namespace"] == "shop"
        assert meta["ownerReferences"][0]["uid"] == "uid-1"
        assert meta["labels"]["amaters.io/cluster"] == "orders"
        assert meta["labels"]["app.kubernetes.io/managed-by"] == "amaters-operator"


RECOMMENDED = ("name", "instance", "version", "component", "part-of", "managed-by")


def test_every_object_has_the_recommended_labels_and_pods_keep_theirs() -> None:
    before, after = cluster(image="registry:5000/a:1@sha256:" + "0a" * 32), cluster(image="a:2")
    made = manifests.desired(after, shape(after), monitors=True)

    for one in made:
        worn = one["metadata"]["labels"]
        assert all(f"app.kubernetes.io/{name}" in worn for name in RECOMMENDED)
    assert names.object_labels(before)["app.kubernetes.io/version"] == "1"
    assert names.object_labels(after)["app.kubernetes.io/version"] == "2"
    # Another label in a pod template is a roll, and a selector can never be changed.
    pods = [
        manifests.desired(one, shape(one), monitors=True)[-1]["spec"] for one in (before, after)
    ]
    assert pods[0]["template"]["metadata"] == pods[1]["template"]["metadata"]
    assert pods[0]["selector"] == {"matchLabels": names.selector_labels(after)}
    assert set(names.labels(after)) == {
        "app.kubernetes.io/name",
        "app.kubernetes.io/instance",
        "app.kubernetes.io/component",
        "app.kubernetes.io/managed-by",
        "amaters.io/cluster",
    }


@pytest.mark.parametrize("image", ["a", "a@sha256:" + "0a" * 32, "registry:5000/a", "a:1_"])
def test_an_image_without_a_version_makes_no_label(image: str) -> None:
    assert "app.kubernetes.io/version" not in names.object_labels(cluster(image=image))


def pod_of(orders: AmatersCluster) -> dict:
    return manifests.desired(orders, shape(orders), monitors=False)[-1]["spec"]["template"]["spec"]


def test_ids_are_left_out_where_the_platform_assigns_them() -> None:
    """As OpenShift's restricted-v2 demands: a fixed id outside of the namespace's range is refused."""
    security = pod_of(cluster(podSecurity={"userIds": "Assigned"}))["securityContext"]

    assert not {"runAsUser", "runAsGroup", "fsGroup"} & security.keys()
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod_of(cluster())["securityContext"]["runAsUser"] == 10001


def test_a_security_context_is_ours_but_for_what_the_spec_says() -> None:
    level = {"level": "s0:c1,c2"}
    pod = pod_of(
        cluster(
            podSecurity={
                "pod": {"runAsUser": 5, "seLinuxOptions": level, "fsGroupChangePolicy": "Always"},
                "container": {"capabilities": {"add": ["SYS_NICE"]}, "runAsGroup": 7},
            }
        )
    )

    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 5,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "fsGroupChangePolicy": "Always",
        "seccompProfile": {"type": "RuntimeDefault"},
        "seLinuxOptions": level,
    }
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["SYS_NICE"]},
        "runAsGroup": 7,
    }


@pytest.mark.parametrize(
    ("spec", "ipv6", "host"),
    [
        ({}, False, "0.0.0.0"),
        ({}, True, "[::]"),
        ({"ipFamilies": ["IPv6"]}, False, "[::]"),
        ({"ipFamilies": ["IPv4"]}, False, "0.0.0.0"),
        ({"ipFamilies": ["IPv4"]}, True, "[::]"),
        ({"ipFamilyPolicy": "SingleStack"}, True, "[::]"),
        ({"ipFamilyPolicy": "PreferDualStack"}, False, "[::]"),
        ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}, False, "[::]"),
    ],
)
def test_nodes_listen_where_the_families_of_the_services_lead(spec, ipv6, host) -> None:
    orders = cluster(networking=spec)
    there = shape(orders, home=manifests.Home(ipv6=ipv6))
    tables = config.sections(orders, there)

    assert tables["server"]["bind_address"] == f"{host}:7878"
    assert tables["cluster"]["bind_address"] == f"{host}:7879"
    assert tables["metrics"]["bind_address"] == f"{host}:9090"
    digest = hashlib.sha256(config.rendered(orders, there).encode()).hexdigest()
    assert digest in config.digests(orders, there.initial_members, ())
    for made in manifests.desired(orders, there, monitors=False):
        if made["kind"] == "Service":
            assert {key: made["spec"][key] for key in spec} == spec
            assert ("ipFamilies" in made["spec"]) == ("ipFamilies" in spec)


def test_every_port_says_its_protocol_to_a_mesh() -> None:
    for tls, spoken in ((None, "grpc"), ({"secretName": "s"}, "tls")):
        orders = cluster(tls=tls)
        made = manifests.desired(orders, shape(orders), monitors=False)
        ports = [port for one in made if one["kind"] == "Service" for port in one["spec"]["ports"]]
        assert {port["name"]: port["appProtocol"] for port in ports} == {
            "client": spoken,
            "peers": spoken,
            "http": "http",
        }


def test_members_address_each_other_by_names_that_a_mesh_and_a_certificate_know() -> None:
    orders = cluster()
    [container] = pod_of(orders)["containers"]

    assert "$(POD_NAME).orders-peers.$(POD_NAMESPACE).svc:7879" in container["args"]
    assert names.peer_address(orders, 0) == "orders-0.orders-peers.shop.svc:7879"
    assert [port["name"] for port in container["ports"]] == ["client", "peers", "http"]


def test_the_gateway_has_a_port_everywhere_or_nowhere() -> None:
    for tls, spoken in ((None, "http"), ({"secretName": "s"}, "https")):
        orders = cluster(tls=tls, gateway={"enabled": True})
        made = manifests.desired(orders, shape(orders), monitors=False)
        services = [one for one in made if one["kind"] == "Service"]
        found = [
            (port["port"], port["targetPort"], port["appProtocol"])
            for one in services
            for port in one["spec"]["ports"]
            if port["name"] == "gateway"
        ]
        assert found == [(8080, "gateway", spoken)] * len(services)
        [container] = pod_of(orders)["containers"]
        assert container["ports"][-1] == {
            "name": "gateway",
            "containerPort": 8080,
            "protocol": "TCP",
        }
    # Only where it is on: an operator that learns of it rolls no pods.
    assert "gateway" not in config.sections(cluster(), shape(cluster()))
    assert hashed(cluster(gateway={"enabled": False})) == hashed(cluster())
    assert hashed(cluster(gateway={"enabled": True})) != hashed(cluster())


def test_pods_pass_the_restricted_pod_security_standard() -> None:
    orders = cluster()
    pod = manifests.desired(orders, shape(orders), monitors=False)[-1]["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] is True
    allowed = {"configMap", "emptyDir", "projected", "secret", "downwardAPI"}
    assert all(allowed & volume.keys() for volume in pod["volumes"])


def test_a_formed_cluster_never_lets_an_empty_disk_found_another() -> None:
    orders = cluster(replicas=1)

    before = tomllib.loads(config.rendered(orders, shape(orders)))["cluster"]
    after = tomllib.loads(config.rendered(orders, shape(orders, formed=True, replicas=2)))[
        "cluster"
    ]

    assert before["peers"] == ["1:orders-0.orders-peers.shop.svc:7879"]
    assert "peers" not in after
    assert after["join"] == [
        "orders-0.orders-peers.shop.svc:7879",
        "orders-1.orders-peers.shop.svc:7879",
    ]


def test_initial_members_do_not_follow_scaling() -> None:
    orders = cluster(replicas=5)
    first = ("1:orders-0.orders-peers.shop.svc:7879",)

    made = config.config_map(orders, shape(orders, initial_members=first))

    assert made["metadata"]["annotations"][names.INITIAL_MEMBERS_ANNOTATION] == first[0]
    assert tomllib.loads(made["data"]["config.toml"])["cluster"]["peers"] == list(first)


@pytest.mark.parametrize(
    "spec",
    [
        {"config": {"logging": {"level": "trace"}}},
        {"config": {"limits": {"maxConnections": 7}}},
        {"config": {"limits": {"maxConnectionsPerClient": 7}}},
        {"config": {"limits": {"callsPerSecond": 7, "callsPerSecondPerClient": 5}}},
        {"replicas": 5},
        {"upgrade": {"paused": True}},
        {"backup": {"destination": "s3://b/p"}},
        {"backup": {"destination": "s3://b/p", "allowedDestinations": ["s3://b/q"]}},
    ],
)
def test_what_a_running_node_takes_over_rolls_no_pod(spec: dict) -> None:
    assert hashed(cluster(**spec)) == hashed(cluster())


def test_forming_and_growing_roll_no_pod() -> None:
    assert hashed(cluster(), formed=True, replicas=5) == hashed(cluster())


@pytest.mark.parametrize(
    "spec",
    [
        {"config": {"cluster": {"electionTimeoutMs": 2000}}},
        {"config": {"storage": {"blockCacheSizeMb": 512}}},
        {"config": {"limits": {"maxMessageBytes": 1048576}}},
        {"tls": {"secretName": "s", "requireClientCert": True}},
    ],
)
def test_what_needs_a_restart_changes_the_hash(spec: dict) -> None:
    assert hashed(cluster(**spec)) != hashed(cluster())


def test_an_administrator_of_its_own_restarts_and_without_one_nothing_changes() -> None:
    shared = cluster(tls={"secretName": "s"})
    own = cluster(tls={"secretName": "s", "adminSecretName": "a"})

    assert "admin_principals" not in config.rendered(shared, shape(shared))
    assert config.sections(own, shape(own))["cluster"]["admin_principals"] == ["amaters-operator"]
    assert hashed(own) != hashed(shared)


def test_a_file_of_another_size_or_age_has_the_same_settings() -> None:
    orders, other = cluster(), cluster(config={"logging": {"level": "trace"}})
    good = config.digests(orders, shape(orders).initial_members, ())

    for changes in ({}, {"formed": True}, {"formed": True, "replicas": 7}):
        text = config.rendered(orders, shape(orders, **changes))
        assert hashlib.sha256(text.encode()).hexdigest() in good
    assert not good & config.digests(other, shape(other).initial_members, ())


def test_the_claim_template_keeps_its_first_size() -> None:
    orders = cluster(storage={"size": "20Gi"})

    made = manifests.desired(orders, shape(orders, volume_size="10Gi"), monitors=False)[-1]

    claim = made["spec"]["volumeClaimTemplates"][0]
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"


def test_clients_find_no_service_while_a_backup_is_loaded() -> None:
    orders = cluster()

    made = manifests.desired(orders, shape(orders, serves_clients=False), monitors=False)

    services = [one["metadata"]["name"] for one in made if one["kind"] == "Service"]
    assert services == ["orders-peers"]


def test_what_is_switched_off_is_deleted() -> None:
    orders = cluster(podDisruptionBudget={"enabled": False}, monitoring={"enabled": False})

    kinds = {one["kind"] for one in manifests.desired(orders, shape(orders), monitors=True)}
    gone = {one["kind"] for one in manifests.disabled(orders, monitors=True)}

    assert gone == {"PodDisruptionBudget", "ServiceMonitor", "NetworkPolicy"}
    assert not gone & kinds
    guarded = cluster(networkPolicy={"enabled": True})
    assert manifests.disabled(guarded, monitors=True) == []


def test_only_the_peers_service_is_scraped() -> None:
    orders = cluster()
    wanted = service_monitor(orders)["spec"]["selector"]["matchLabels"].items()

    matching = [
        made["metadata"]["name"]
        for made in manifests.desired(orders, shape(orders), monitors=True)
        if made["kind"] == "Service" and wanted <= made["metadata"]["labels"].items()
    ]

    assert matching == ["orders-peers"]


def test_users_cannot_relabel_pods_away_from_their_selector() -> None:
    orders = cluster(podLabels={"app.kubernetes.io/name": "other", "mine": "yes"})
    made = manifests.desired(orders, shape(orders), monitors=False)[-1]["spec"]

    pod_template = made["template"]["metadata"]["labels"]
    assert made["selector"]["matchLabels"].items() <= pod_template.items()
    assert pod_template["mine"] == "yes"


@given(st.integers(min_value=0, max_value=10_000))
def test_a_pods_ordinal_is_read_back_from_its_name(number: int) -> None:
    assert names.ordinal(names.pod(cluster(), number)) == number


def test_a_name_without_number_has_no_ordinal() -> None:
    assert names.ordinal("orders") == -1


@pytest.mark.parametrize(
    "backup",
    [
        {"destination": "s3://b/p"},
        {"destination": "s3://b/p", "credentialsSecretName": "s3"},
        {"destination": "s3://b/q", "credentialsSecretName": "other", "endpointUrl": "http://s3"},
    ],
)
def test_no_part_of_a_pod_depends_on_where_backups_go(backup: dict) -> None:
    plain, saved = cluster(), cluster(backup=backup)

    assert pod_template.template(saved, shape(saved)) == pod_template.template(plain, shape(plain))


def test_the_keys_of_the_store_are_mounted_from_the_beginning_and_need_not_exist() -> None:
    orders = cluster()
    template = pod_template.template(orders, shape(orders))
    sources = template["spec"]["volumes"][0]["projected"]["sources"]
    [secret] = [one["secret"] for one in sources if "secret" in one]

    assert (secret["name"], secret["optional"]) == ("orders-backup-credentials", True)
    assert {one["path"] for one in secret["items"]} == {
        "store-keys/AWS_ACCESS_KEY_ID",
        "store-keys/AWS_SECRET_ACCESS_KEY",
        "store-keys/AWS_SESSION_TOKEN",
    }
    saved = cluster(backup={"destination": "s3://b/p"})
    folder = config.sections(saved, shape(saved))["snapshots"]["s3"]["credentials_dir"]
    assert folder == "/etc/amaters/store-keys"


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("s3://b/old/0123/remote-snapshot-00000010000000004000.bin", "s3://b/old/0123"),
        ("s3://b/remote-snapshot-00000010000000004000.bin", "s3://b"),
        ("s3://b/old", "s3://b/old"),
    ],
)
def test_a_node_may_read_what_the_cluster_begins_with(source: str, place: str) -> None:
    orders = cluster(
        backup={"destination": "s3://b/new", "allowedDestinations": ["s3://b/third"]},
        bootstrap={"restoreFrom": source},
    )

    allowed = config.sections(orders, shape(orders))["snapshots"]["allowed_destinations"]

    assert allowed == [place, "s3://b/third"]


def test_a_role_for_backups_mounts_a_token_for_its_audience_and_the_authority_of_the_store() -> (
    None
):
    backup = {
        "destination": "s3://b/p",
        "caSecretName": "store-ca",
        "webIdentity": {
            "roleArn": "arn:aws:iam::123456789012:role/backups",
            "audience": "store",
        },
    }

    def mounted(spec: dict) -> list[dict]:
        orders = cluster(**spec)
        pod = pod_template.template(orders, shape(orders))["spec"]
        (volume,) = [one for one in pod["volumes"] if one["name"] == "config"]
        return volume["projected"]["sources"]

    more = [
        one
        for one in mounted({"backup": backup})
        if one not in mounted({"backup": {"destination": "s3://b/p"}})
    ]

    assert more == [
        {
            "secret": {
                "name": "store-ca",
                "items": [{"key": "ca.crt", "path": "store/ca.crt"}],
                "optional": True,
            }
        },
        {
            "serviceAccountToken": {
                "path": "store/token",
                "audience": "store",
                "expirationSeconds": 3600,
            }
        },
    ]
