"""What a real API server says to our CRDs, objects and charts; there are no nodes.

The test bed builds the programs. Where they are not built yet, these tests are skipped.
"""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from amaters_operator import manifests
from amaters_operator.api.cluster import AmatersCluster
from amaters_server.testing.ports import free_ports, has_ipv6
from testbed import api_server
from testbed.api_server import ApiServer
from testbed.shell import CommandFailedError, wait_until

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
BINARIES = ROOT / ".cache" / "testbed" / "bin"
CRD = "amatersclusters.amaters.io"
NOTES = ROOT / "charts" / "amaters-operator" / "templates" / "NOTES.txt"

built = all((BINARIES / name).exists() for name in api_server.NEEDED)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not built, reason="not built: run `make cluster-up`"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server.serving(BINARIES, tmp_path_factory.mktemp("api")) as running:
        running.kubectl("create", "namespace", "shop")
        yield running


def serves(server: ApiServer, kind: str) -> None:
    """Wait until the API server serves the kind: a moment after its CRD is there."""

    def is_served() -> bool:
        try:
            return server.kubectl("get", kind, "--output", "name") is not None
        except CommandFailedError:
            return False

    wait_until(is_served, kind, seconds=20)


@pytest.fixture
def crds(server: ApiServer) -> None:
    """Install today's CRDs."""
    server.kubectl("apply", "--server-side", "--force-conflicts", "-f", ROOT / "crds")
    for path in (ROOT / "crds").glob("*.yaml"):
        serves(server, yaml.safe_load(path.read_text())["metadata"]["name"])


@pytest.fixture
def bare(server: ApiServer) -> None:
    """Remove every CRD, with every object."""
    server.kubectl("delete", "crd", "--all")


@pytest.mark.usefixtures("crds")
def test_the_crds_are_accepted_and_explain_themselves(server: ApiServer) -> None:
    fields = ("spec.networkPolicy.clients", "status.conditions", "spec.storage")
    # A new CRD is published a moment after it is served.
    wait_until(lambda: explained(server, fields[0]) != "", "explanation", seconds=20)
    for field in fields:
        text = explained(server, field)
        assert "DESCRIPTION" in text
        assert "<empty>" not in text


def explained(server: ApiServer, field: str) -> str:
    try:
        return server.kubectl("explain", f"amatersclusters.{field}")
    except CommandFailedError:
        return ""


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize("name", ["minimal", "full", "platform"])
def test_every_object_that_is_made_of_a_cluster_is_accepted(server: ApiServer, name: str) -> None:
    objects = list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()))
    accepted = [one for one in objects if one["kind"] != "ServiceMonitor"]
    for one in accepted:
        if one["kind"] == "StatefulSet":
            # That golden file is about what is passed on, whatever it means to Kubernetes.
            one["spec"]["template"]["spec"].pop("topologySpreadConstraints", None)

    assert server.refuses(accepted) == ""


def cluster(**spec: object) -> dict:
    return {
        "apiVersion": "amaters.io/v1alpha1",
        "kind": "AmatersCluster",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {"image": "amaters:1"} | spec,
    }


def window(schedule: str, duration: str, **more: str) -> dict:
    one = {"schedule": schedule, "duration": duration} | more
    return {"upgrade": {"maintenanceWindows": [one]}}


@pytest.mark.parametrize("duration", ["4h", "90m", "1h30m", "45s"])
@pytest.mark.usefixtures("crds")
def test_a_maintenance_window_is_accepted(server: ApiServer, duration: str) -> None:
    spec = window("30 1,13 * * mon-fri", duration, timeZone="Europe/Berlin")

    assert server.refuses([cluster(**spec)]) == ""


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"storage": {"autoGrow": {"max": "5Gi"}}}, "storage.autoGrow.max is below storage.size"),
        ({"storage": {"autoGrow": {"max": "1Ti", "below": "95%"}}}, "write a share from 1% to 90%"),
        ({"storage": {"quarantine": "0s"}}, "write a time above zero"),
        ({"networking": {"ipFamilies": ["IPv4", "IPv6"]}}, "two ipFamilies need ipFamilyPolicy"),
        (
            {"networking": {"ipFamilies": ["IPv4"] * 2, "ipFamilyPolicy": "PreferDualStack"}},
            "are the same",
        ),
        ({"networkPolicy": {"clients": [{}]}}, "this peer names nobody"),
        (
            {"networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.0.0.0"}}]}},
            "must be of type cidr",
        ),
        (
            {"networkPolicy": {"clients": [{"ipBlock": {"cidr": "::/0"}, "podSelector": {}}]}},
            "an ipBlock has no selectors",
        ),
        ({"podSecurity": {"userIds": "Random"}}, 'supported values: "Fixed", "Assigned"'),
        ({"podSecurity": {"container": {"runAsUser": -1}}}, "greater than or equal to 0"),
        ({"upgrade": {"approval": "Never"}}, 'supported values: "Automatic", "Manual"'),
        (window("0 2 * *", "4h"), "write five fields"),
        (window("0 25 * * *", "4h"), "write five fields"),
        (
            window("0 2 * * sat", "0h"),
            "write a time above zero in days, hours, minutes and seconds",
        ),
        (window("0 2 * * sat", "4 hours"), "write a time above zero in days, hours"),
        (window("0 2 * * sat", "4h", timeZone="Local"), "write an IANA time zone"),
        ({"upgrade": {"maintenanceWindows": [{"schedule": "0 2 * * *"}]}}, "duration"),
    ],
)
def test_what_means_nothing_is_refused_at_once(server: ApiServer, spec: dict, said: str) -> None:
    assert said in server.refuses([cluster(**spec)])


@pytest.mark.usefixtures("crds")
def test_what_means_something_is_accepted_and_makes_accepted_objects(server: ApiServer) -> None:
    peers = [
        {"podSelector": {}},
        {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
        {"ipBlock": {"cidr": "fd00::/64", "except": ["fd00::/96"]}},
    ]
    made = cluster(
        image="registry.example:5000/amaters-server@sha256:" + "0a" * 32,
        networkPolicy={
            "enabled": True,
            "clients": peers,
            "monitoring": [],
            "administrators": peers,
        },
        networking={"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]},
        podSecurity={"userIds": "Assigned", "pod": {"supplementalGroups": [5]}},
    )
    assert server.refuses([made]) == ""

    server.apply([made])
    read = json.loads(server.kubectl("get", "amc", "orders", "--output", "json"))
    orders = AmatersCluster.model_validate(read)
    shape = manifests.Shape(
        3,
        manifests.initial_members(orders),
        formed=False,
        volume_size="1Gi",
        home=manifests.Home(manifests.OperatorPods("systems", {"app.kubernetes.io/name": "op"})),
    )
    assert server.refuses(manifests.desired(orders, shape, monitors=False)) == ""
    server.kubectl("delete", "amc", "orders")


def test_an_object_that_was_replaced_is_not_applied_to(server: ApiServer) -> None:
    """The operator applies with the uid that it has read."""
    made = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "orders", "namespace": "shop"},
    }
    server.apply([made])
    other = {"metadata": made["metadata"] | {"uid": "11111111-2222-3333-4444-555555555555"}}

    assert "metadata.uid" in server.refuses([made | other])
    server.kubectl("delete", "configmap", "orders")
    assert "uid mismatch" in server.refuses([made | other])


@pytest.mark.usefixtures("bare")
def test_a_chart_that_is_upgraded_takes_its_crd_along_as_its_notes_say(
    server: ApiServer, tmp_path: Path
) -> None:
    """From the release before: helm leaves the CRD alone, the command changes it, objects stay."""
    today = ROOT / "charts" / "amaters-operator"
    before = tmp_path / "amaters-operator"
    shutil.copytree(today, before)
    previous = (GOLDEN / "previous-crd.yaml").read_text()
    (before / "crds" / f"{CRD}.yaml").write_text(previous)
    server.helm("install", "op", before, "--namespace", "shop")
    serves(server, CRD)
    objects = list(yaml.safe_load_all((GOLDEN / "previous-objects.yaml").read_text()))
    server.apply(objects)
    server.apply(objects, "--subresource=status", "--force-conflicts")
    written = specs(server)

    server.helm("upgrade", "op", today, "--namespace", "shop")
    assert "networkPolicy" not in server.kubectl("get", "crd", CRD, "--output", "json")

    [command] = [line for line in NOTES.read_text().splitlines() if "helm show crds" in line]
    _, _, apply = command.partition("| kubectl ")
    shown = server.helm("show", "crds", today)
    server.kubectl(*apply.split(), stdin=shown)
    wait_until(
        lambda: "networkPolicy" in server.kubectl("get", "crd", CRD, "--output", "json"), "it"
    )
    now = specs(server)
    assert len(written) == len(now) == len(objects)
    for name, spec in written.items():
        assert holds(now[name], spec), "new fields may have their defaults by now"
    assert server.refuses(objects) == ""
    server.kubectl("patch", "amc", "full", "--type=merge", "--patch", '{"spec":{"replicas":5}}')
    server.helm("uninstall", "op", "--namespace", "shop")
    assert CRD in server.kubectl("get", "crd", "--output", "name"), "uninstalling keeps the data"


def holds(whole: object, part: object) -> bool:
    """Whether every field of the part is in the whole, at any depth."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(key in whole and holds(whole[key], one) for key, one in part.items())
    return whole == part


def specs(server: ApiServer) -> dict[str, dict]:
    found = json.loads(server.kubectl("get", "amc", "--output", "json"))["items"]
    return {one["metadata"]["name"]: one["spec"] for one in found}


@pytest.mark.usefixtures("bare")
def test_without_force_the_command_would_fail_where_helm_wrote_before(server: ApiServer) -> None:
    server.kubectl("create", "-f", GOLDEN / "previous-crd.yaml", "--field-manager=helm")

    with pytest.raises(CommandFailedError, match="conflict"):
        server.kubectl("apply", "--server-side", "-f", ROOT / "crds")


@pytest.mark.usefixtures("crds")
@pytest.mark.parametrize(
    ("values", "said", "unsaid"),
    [
        ([], "Nothing is encrypted", ""),
        ([], "No backups are made", ""),
        (
            ["--set=tls.secretName=a,backup.destination=s3://backups/c,name=other"],
            "amc/other",
            "Nothing is encrypted",
        ),
    ],
)
def test_the_notes_of_a_cluster_say_the_next_command(
    server: ApiServer, values: list[str], said: str, unsaid: str
) -> None:
    chart = ROOT / "charts" / "amaters-cluster"
    options = ("--namespace=shop", "--dry-run=server", *values)
    _, _, notes = server.helm("install", "boxed", chart, *options).partition("NOTES:")

    assert "kubectl -n shop wait amc/" in notes
    assert "--for=condition=Ready" in notes
    assert said in notes
    assert not unsaid or unsaid not in notes


@pytest.fixture
def operator(server: ApiServer, tmp_path: Path) -> Iterator[Path]:
    """Run the operator's own program against the API server at ::1; yields its log."""
    environment = os.environ | {
        "KUBECONFIG": str(server.by_ipv6),
        "POD_NAME": "operator-0",
        "POD_NAMESPACE": "shop",
        "POD_APP": "amaters-operator",
        "POD_INSTANCE": "op",
        "POD_IP": "fd00::7",
    }
    [port] = free_ports(1)
    command = [sys.executable, "-m", "amaters_operator", "run", "--namespace=shop"]
    log = tmp_path / "operator.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, f"--http-port={port}"], env=environment, stdout=out, stderr=out
        )
    try:
        wait_until(lambda: answers(port), "operator", seconds=30, hint=f"see {log}")
        yield log
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0, log.read_text()[-3000:]


def answers(port: int) -> bool:
    """Whether the operator's probe answers at ::1, where it listens if its pod has such an address."""
    try:
        with urllib.request.urlopen(f"http://[::1]:{port}/livez", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def read(server: ApiServer, kind: str, name: str) -> dict:
    found = server.kubectl("get", kind, name, "--ignore-not-found", "--output", "json")
    return json.loads(found) if found else {}


@pytest.mark.skipif(not has_ipv6(), reason="this host has no ::1")
@pytest.mark.usefixtures("crds")
def test_the_operator_works_by_ipv6_alone(server: ApiServer, operator: Path) -> None:
    """Its real program, against a real API server: the Lease, the watch, objects, status, events."""
    theirs = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "orders", "namespace": "shop", "labels": {"theirs": "yes"}},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "theirs"}}},
    }
    server.apply([theirs])
    made = cluster(
        networkPolicy={"enabled": True}, networking={"ipFamilyPolicy": "PreferDualStack"}
    )
    server.apply([made])

    def stalled() -> str:
        status = read(server, "amc", "orders").get("status", {})
        found = [one for one in status.get("conditions", []) if one["type"] == "Stalled"]
        return next((one["message"] for one in found if one["status"] == "True"), "")

    wait_until(lambda: "PodDisruptionBudget orders exists" in stalled(), "condition", seconds=30)
    assert read(server, "pdb", "orders")["metadata"]["labels"] == {"theirs": "yes"}
    assert read(server, "statefulset", "orders") == {}

    server.kubectl("delete", "pdb", "orders")
    wait_until(lambda: read(server, "statefulset", "orders") != {}, "StatefulSet", seconds=60)
    policy = read(server, "networkpolicy", "orders")
    [_, operators] = policy["spec"]["ingress"][0]["from"]
    assert operators["podSelector"]["matchLabels"] == {
        "app.kubernetes.io/name": "amaters-operator",
        "app.kubernetes.io/instance": "op",
    }
    service = read(server, "service", "orders")
    assert service["spec"]["ipFamilyPolicy"] == "PreferDualStack"
    assert len(service["spec"]["clusterIPs"]) == 2
    config = read(server, "configmap", "orders-config")["data"]["config.toml"]
    assert 'bind_address = "[::]:7879"' in config
    events = json.loads(
        server.kubectl(
            *("get", "events.events.k8s.io", "--output", "json"),
            "--field-selector=regarding.name=orders,type=Warning",
        )
    )
    assert "NameTaken" in {one["reason"] for one in events["items"]}
    assert "event.lost" not in operator.read_text()

    server.kubectl("delete", "amc", "orders")
