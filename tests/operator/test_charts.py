"""The charts as helm renders them. Where helm is not built yet, these tests are skipped."""

import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.kube import kinds as kube_kinds
from amaters_operator.testing import Driver
from amaters_operator.testing.accesses import access, apply
from amaters_operator.testing.certificates import Authority

ROOT = Path(__file__).parents[2]
BUILT = ROOT / ".cache" / "testbed" / "bin" / "helm"
HELM = str(BUILT) if BUILT.exists() else shutil.which("helm")
needs_helm = pytest.mark.skipif(HELM is None, reason="helm is not built: run `make cluster-up`")
pytestmark = [needs_helm, pytest.mark.slow]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, check=False)


def rendered(chart: str, *values: str, namespace: str = "db") -> list[dict]:
    flags = [part for value in values for part in ("--set-json", value)]
    done = helm(
        "template",
        "op",
        str(ROOT / "charts" / chart),
        "--namespace",
        namespace,
        "--kube-version",
        "1.34.0",
        *flags,
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def kinds(objects: list[dict]) -> list[str]:
    return sorted(one["kind"] for one in objects)


@pytest.mark.parametrize("chart", ["amaters-operator", "amaters-cluster"])
def test_helm_finds_nothing_to_complain_about(chart: str) -> None:
    done = helm("lint", "--strict", str(ROOT / "charts" / chart))

    assert done.returncode == 0, done.stdout


def test_by_default_nothing_is_cluster_wide() -> None:
    objects = rendered("amaters-operator")

    assert kinds(objects) == [
        "Deployment",
        "Role",
        "Role",
        "RoleBinding",
        "RoleBinding",
        "ServiceAccount",
    ]
    assert {one["metadata"]["namespace"] for one in objects} == {"db"}


def test_each_watched_namespace_gets_its_role() -> None:
    objects = rendered("amaters-operator", 'watchNamespaces=["a","b"]')

    roles = [one["metadata"]["namespace"] for one in objects if one["kind"] == "Role"]
    assert roles == ["db", "a", "b"]
    [deployment] = [one for one in objects if one["kind"] == "Deployment"]
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--namespace=a", "--namespace=b"} <= set(arguments)
    assert "--namespace=db" not in arguments


def test_cluster_wide_is_a_choice() -> None:
    objects = rendered("amaters-operator", "clusterWide=true")

    assert "ClusterRole" in kinds(objects)
    [deployment] = [one for one in objects if one["kind"] == "Deployment"]
    assert "--all-namespaces" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]


def test_the_operators_pod_passes_the_restricted_standard() -> None:
    [deployment] = [one for one in rendered("amaters-operator") if one["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert deployment["spec"]["replicas"] == 2


# kopf watches these; nothing else is watched.
WATCHED = {
    (group, resource, verb)
    for group, resource in (
        ("amaters.io", "amatersclusters"),
        ("amaters.io", "amatersaccesses"),
        ("", "pods"),
        ("", "secrets"),
    )
    for verb in ("list", "watch")
}


def rights_used() -> set[tuple[str, str, str]]:
    """What a whole life makes use of: birth, roll, growth, rotation, backup, and switches."""
    authority = Authority()
    driver = Driver()
    driver.kube.monitors = True
    first, second = authority.issue(), authority.issue()
    driver.world.store.put(first.secret("shop", "tls"))
    driver.database.arrived = first.serial
    driver.world.edit(
        replicas=1,
        tls={"secretName": "tls"},
        backup={"destination": "s3://backups/orders"},
        networkPolicy={"enabled": True},
    )
    driver.settled()
    driver.world.edit(replicas=3, storage={"size": "20Gi"})
    driver.settled()
    driver.world.store.put(second.secret("shop", "tls"))
    driver.world.annotate(backup="now")
    driver.world.edit(
        image="amaters:2",
        podDisruptionBudget={"enabled": False},
        monitoring={"enabled": False},
        networkPolicy={"enabled": False},
    )
    driver.settled()
    driver.world.edit(replicas=2)
    driver.settled()
    driver.world.edit(authentication={"apiKey": {}})
    apply(driver, access("reports", user={"name": "reports"}))
    driver.settled()
    driver.world.now += timedelta(days=91)
    driver.settled()
    driver.world.quota = "exceeded quota"
    driver.world.store.delete(kube_kinds.POD, "shop", "orders-0")
    driver.passes(5)
    return driver.kube.used


def test_every_right_is_used_and_no_other_is_needed() -> None:
    [role] = [
        one
        for one in rendered("amaters-operator")
        if one["kind"] == "Role" and not one["metadata"]["name"].endswith("-lease")
    ]
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

    used = rights_used() | WATCHED

    # A claim is made by the StatefulSet: applying to it never creates one.
    assert granted - used == set(), "granted and never used"
    assert used - granted == set(), "used and not granted"


def test_the_right_to_write_secrets_can_be_left_out() -> None:
    made = rendered("amaters-operator", 'access={"secrets":false}')
    rules = [rule for one in made if one["kind"] == "Role" for rule in one["rules"]]
    verbs = [rule["verbs"] for rule in rules if "secrets" in rule["resources"]]

    assert verbs == [["get", "list", "watch"]]


def test_a_cluster_of_the_chart_is_a_cluster_of_the_crd() -> None:
    [made] = rendered(
        "amaters-cluster",
        "replicas=5",
        'tls={"secretName":"orders-tls"}',
        'image={"repository":"r/amaters","tag":"9"}',
        'name="orders"',
    )

    made["metadata"]["uid"] = "u"
    cluster = AmatersCluster.model_validate(made)
    assert (cluster.name, cluster.spec.image, cluster.spec.replicas) == ("orders", "r/amaters:9", 5)
    assert cluster.spec.tls.secret_name == "orders-tls"
    assert "name" not in made["spec"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"storge": {"size": "1Gi"}}, "storge"),
        ({"replicas": 12}, "maximum"),
        ({"config": {"logging": {"level": "loud"}}}, "level"),
        ({"backup": {"destination": "/tmp"}}, "destination"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_helm_itself(values: dict, said: str) -> None:
    flags = [
        part
        for key, value in values.items()
        for part in ("--set-json", f"{key}={json.dumps(value)}")
    ]
    chart = str(ROOT / "charts" / "amaters-cluster")
    done = helm("template", "x", chart, "--kube-version", "1.34.0", *flags)

    assert done.returncode != 0
    assert said in done.stderr


def test_chart_and_project_are_of_one_version() -> None:
    version = (ROOT / "client" / "amaters" / "version.py").read_text().split('"')[-2]

    for chart in ("amaters-operator", "amaters-cluster"):
        facts = yaml.safe_load((ROOT / "charts" / chart / "Chart.yaml").read_text())
        assert facts["appVersion"] == version
        assert facts["version"] == version
