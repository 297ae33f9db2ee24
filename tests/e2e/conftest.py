"""One Kubernetes for all e2e tests, the operator installed by helm, a namespace under restricted
Pod Security. The test bed provides the Kubernetes, unless KUBECONFIG names one."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from testbed import evidence, lifecycle, object_store, places

from demo.clusters import Cluster, Workload
from demo.kubectl import ROOT, Kubectl, eventually

NAMESPACE = "amaters-e2e"
OPERATOR_IMAGE = "amaters-operator:0.3.0"
HELM = os.environ.get("HELM", str(ROOT / ".cache" / "testbed" / "bin" / "helm"))
KUBECTL = pytest.StashKey[Kubectl]()
KEPT = pytest.StashKey[Path]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport]:
    """Keep what a failure is explained from, before its clusters are deleted."""
    report = yield
    kubectl = item.config.stash.get(KUBECTL, None)
    if report.failed and kubectl and KEPT not in item.stash:
        folder = ROOT / ".cache" / "e2e" / re.sub(r"[^\w.-]+", "-", item.name)
        item.stash[KEPT] = evidence.keep(kubectl, folder)
        report.sections.append(("evidence", f"logs, events and objects: {folder}"))
    return report


@pytest.fixture(scope="session")
def kubectl(pytestconfig: pytest.Config) -> Kubectl:
    kubeconfig = os.environ.get("KUBECONFIG") or run_testbed("kubeconfig").strip()
    pytestconfig.stash[KUBECTL] = kubectl = Kubectl(kubeconfig, NAMESPACE)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": labels},
        }
    )
    eventually(
        "default service account", lambda: kubectl("get", "serviceaccount", "default"), within=30
    )
    return kubectl


def install(kubectl: Kubectl) -> None:
    """Install the operator as a person does, into kubectl's namespace; two replicas, one leads."""
    repository, tag = OPERATOR_IMAGE.split(":")
    kubectl.helm(
        "upgrade", "--install", "amaters-operator", str(ROOT / "charts" / "amaters-operator"),
        "--set", f"image.repository={repository},image.tag={tag}",
        "--wait", "--timeout", "120s",
        binary=HELM,
    )  # fmt: skip


@pytest.fixture(scope="session")
def operator(kubectl: Kubectl) -> Kubectl:
    """The operator that all tests share."""
    install(kubectl)
    return kubectl


@pytest.fixture
def operator_inside(kubectl: Kubectl) -> Iterator[Callable[[str], Kubectl]]:
    """Install further operators, each into a new namespace, which the test may delete."""
    made: list[Kubectl] = []

    def make(namespace: str) -> Kubectl:
        one = Kubectl(kubectl.kubeconfig, namespace)
        made.append(one)
        one.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        install(one)
        return one

    yield make
    for one in made:
        one("delete", "namespace", one.namespace, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="session")
def s3(kubectl):
    """Endpoint and bucket of the test bed's S3 server, with credentials in a Secret."""
    place = object_store.start(lifecycle.Cluster(places.places()))
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s3-credentials"},
            "stringData": {
                "AWS_ACCESS_KEY_ID": place.access_key,
                "AWS_SECRET_ACCESS_KEY": place.secret_key,
            },
        }
    )
    return place


@pytest.fixture
def cluster(operator: Kubectl) -> Iterator[Callable[..., Cluster]]:
    """Make clusters; they are deleted, disks included, when the test ends."""
    made: list[Cluster] = []

    def make(name: str, **spec: object) -> Cluster:
        one = Cluster(operator, name)
        one.create(**spec)
        made.append(one)
        return one

    yield make
    for one in made:
        operator("delete", "amc", one.name, "--ignore-not-found", "--timeout", "60s")
        eventually(f"pods of {one.name} gone", lambda one=one: not one.pods, within=60)
        operator(
            "delete", "pvc", "--selector", f"app.kubernetes.io/instance={one.name}", "--wait=false"
        )


@pytest.fixture
def workload(operator: Kubectl) -> Iterator[Callable[..., Workload]]:
    """Make workloads: `workload("demo")` writes to and reads from the cluster of that name."""
    made: list[Workload] = []

    def make(cluster: str, *, tls_secret: str = "") -> Workload:
        one = Workload(operator, cluster, tls_secret)
        made.append(one)
        return one

    yield make
    for one in made:
        operator("delete", "pod", one.name, "--ignore-not-found", "--wait=false")


def run_testbed(*arguments: str) -> str:
    """Run the test bed's command line."""
    command = [sys.executable, str(ROOT / "tests" / "testbed" / "cluster.py"), *arguments]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
