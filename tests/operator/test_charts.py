"""The charts as helm renders them. Where helm is not built yet, these tests are skipped."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.app.watch import WATCHED
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


def watched() -> set[tuple[str, str, str]]:
    return {(kind.group, kind.plural, verb) for kind in WATCHED for verb in ("list", "watch")}


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
    driver.world.edit(replicas=3, healing={"replaceAfter": "1m"})
    driver.settled()
    driver.world.machines.kill(driver.world.pod(2))
    driver.passes(20, seconds=30)
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

    used = rights_used() | watched()

    # A claim is made by the StatefulSet: applying to it never creates one.
    assert granted - used == set(), "granted and never used"
    assert used - granted == set(), "used and not granted"


def test_secrets_are_read_by_name_and_never_listed() -> None:
    for values, verbs in (
        ((), [["get"], ["create", "patch"]]),
        (("clusterWide=true",), [["get"], ["create", "patch"]]),
        (('access={"secrets":false}',), [["get"]]),
    ):
        rules = [
            rule
            for one in rendered("amaters-operator", *values)
            if one["kind"] in ("Role", "ClusterRole")
            for rule in one["rules"]
        ]

        assert [rule["verbs"] for rule in rules if "secrets" in rule["resources"]] == verbs
        assert not [rule for rule in rules if "*" in rule["resources"] + rule["verbs"]]


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


CHARTS = ("amaters-operator", "amaters-cluster")
DIGEST = "sha256:" + "0a" * 32


def chart_file(chart: str, name: str) -> Path:
    return ROOT / "charts" / chart / name


def schema_parts(schema: dict, path: str = "") -> Iterator[tuple[str, dict]]:
    for name, part in schema.get("properties", {}).items():
        yield f"{path}.{name}", part
        yield from schema_parts(part, f"{path}.{name}")
        yield from schema_parts(part.get("items", {}), f"{path}.{name}[]")


def values_of(chart: str) -> dict:
    return yaml.safe_load(chart_file(chart, "values.yaml").read_text())


@pytest.mark.parametrize("chart", CHARTS)
def test_every_value_is_described_and_what_is_no_value_is_refused(chart: str) -> None:
    schema = json.loads(chart_file(chart, "values.schema.json").read_text())
    # Kubernetes' own types are passed on: their parts may grow.
    own = dict(schema_parts(schema))

    assert schema["additionalProperties"] is False
    assert [path for path, part in own.items() if len(part.get("description", "")) < 5] == []
    nested = {path: part for path, part in own.items() if "properties" in part}
    assert nested
    assert [path for path, part in nested.items() if "additionalProperties" not in part] == []


@pytest.mark.parametrize("chart", CHARTS)
def test_every_value_of_the_file_is_in_the_schema(chart: str) -> None:
    schema = json.loads(chart_file(chart, "values.schema.json").read_text())

    def unknown(values: dict, part: dict, path: str = "") -> list[str]:
        known = part.get("properties")
        if known is None:
            return []
        found = [f"{path}.{name}" for name in values if name not in known]
        for name, value in values.items():
            if isinstance(value, dict) and name in known:
                found += unknown(value, known[name], f"{path}.{name}")
        return found

    assert unknown(values_of(chart), schema) == []


def test_every_value_of_the_operators_schema_is_in_the_file() -> None:
    """What a person may set is there to be read, with its default."""
    schema = json.loads(chart_file("amaters-operator", "values.schema.json").read_text())
    values = values_of("amaters-operator")
    absent = [name for name in schema["properties"] if name not in values]

    assert absent == ["global"]


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize(
    "wrong",
    ["unknown=1", "image.repo=a", "image.digest=latest", "image.pullPolicy=Sometimes"],
)
def test_a_misspelt_value_is_refused_by_helm(chart: str, wrong: str) -> None:
    path = str(ROOT / "charts" / chart)
    done = helm("template", "x", path, "--kube-version", "1.34.0", "--set", wrong)

    assert done.returncode != 0
    assert wrong.partition("=")[0].rpartition(".")[2] in done.stderr


RECOMMENDED = ("name", "instance", "version", "component", "part-of", "managed-by")


@pytest.mark.parametrize("chart", CHARTS)
def test_every_object_has_the_recommended_labels(chart: str) -> None:
    values = ["serviceMonitor.enabled=true", "networkPolicy.enabled=true"]
    objects = rendered(chart, *(values if chart == "amaters-operator" else []))

    for made in objects:
        worn = made["metadata"]["labels"]
        assert [one for one in RECOMMENDED if f"app.kubernetes.io/{one}" not in worn] == []


def test_the_selector_of_the_operator_is_what_it_was() -> None:
    """It can never be changed: `helm upgrade` would fail."""
    [deployment] = [one for one in rendered("amaters-operator") if one["kind"] == "Deployment"]

    assert deployment["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "amaters-operator",
        "app.kubernetes.io/instance": "op",
    }


def operator_pod(*values: str) -> dict:
    objects = rendered("amaters-operator", *values)
    [deployment] = [one for one in objects if one["kind"] == "Deployment"]
    return deployment["spec"]["template"]


def test_the_operator_learns_which_pods_are_its_own() -> None:
    template = operator_pod()
    told = {
        one["name"]: one["valueFrom"]["fieldRef"]["fieldPath"]
        for one in template["spec"]["containers"][0]["env"]
    }
    labels = template["metadata"]["labels"]

    assert told["POD_NAMESPACE"] == "metadata.namespace"
    for name, label in (("POD_APP", "name"), ("POD_INSTANCE", "instance")):
        key = f"app.kubernetes.io/{label}"
        assert told[name] == f"metadata.labels['{key}']"
        assert key in labels
    assert told["POD_IP"] == "status.podIP"


def test_ids_of_the_operator_are_left_out_where_the_platform_assigns_them() -> None:
    fixed = operator_pod()["spec"]["securityContext"]
    free = operator_pod('podSecurity.userIds="Assigned"')["spec"]["securityContext"]

    assert (fixed["runAsUser"], fixed["runAsGroup"]) == (10001, 10001)
    assert not {"runAsUser", "runAsGroup"} & free.keys()
    assert free["runAsNonRoot"] is True
    own = operator_pod('podSecurity={"pod":{"runAsUser":7},"container":{"runAsGroup":8}}')["spec"]
    assert own["securityContext"]["runAsUser"] == 7
    assert own["containers"][0]["securityContext"]["runAsGroup"] == 8
    assert own["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_an_image_is_named_by_its_digest_where_one_is_given() -> None:
    [container] = operator_pod(f'image.digest="{DIGEST}"')["spec"]["containers"]
    [made] = rendered("amaters-cluster", f'image.digest="{DIGEST}"', 'image.tag="9"')

    assert container["image"].endswith(f"@{DIGEST}")
    assert made["spec"]["image"] == f"amaters-server:9@{DIGEST}"
    made["metadata"]["uid"] = "u"
    assert AmatersCluster.model_validate(made).spec.image == made["spec"]["image"]


def test_the_operators_own_policy_lets_nobody_in_but_those_it_names() -> None:
    objects = rendered(
        "amaters-operator", "networkPolicy.enabled=true", "networkPolicy.monitoring=[]"
    )
    [policy] = [one for one in objects if one["kind"] == "NetworkPolicy"]
    assert policy["spec"]["ingress"] == []

    objects = rendered("amaters-operator", "networkPolicy.enabled=true")
    [policy] = [one for one in objects if one["kind"] == "NetworkPolicy"]
    [rule] = policy["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8080}]
    assert rule["from"][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}
