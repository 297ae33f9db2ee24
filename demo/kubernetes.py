"""`make demo-k8s`: the demo on a real Kubernetes, with its figures."""

import os

from rich.panel import Panel
from rich.syntax import Syntax

from demo.clusters import NEXT_IMAGE, Cluster, Workload
from demo.keeping import back_up, rotate
from demo.kubectl import ROOT, Kubectl
from demo.stage import figures, screen, step, testbed

NAMESPACE = "amaters-demo"
TEN_LINES = """\
apiVersion: amaters.io/v1alpha1
kind: AmatersCluster
metadata:
  name: demo
spec:
  image: amaters-server:0.3.0
  replicas: 3
  storage:
    size: 1Gi
"""


def install_operator(kubectl: Kubectl) -> None:
    """Make the namespace, restricted, and install the operator's chart in it."""
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": NAMESPACE,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        }
    )
    helm = os.environ.get("HELM", str(ROOT / ".cache" / "testbed" / "bin" / "helm"))
    chart = str(ROOT / "charts" / "amaters-operator")
    kubectl.helm(
        "upgrade",
        "--install",
        "amaters-operator",
        chart,
        "--wait",
        "--timeout",
        "120s",
        binary=helm,
    )


def roll(kubectl: Kubectl, demo: Cluster) -> None:
    """Upgrade under a client that never stops."""
    client = Workload(kubectl, demo.name)
    client.start()
    before = demo.leader()
    with step(f"Upgrading to {NEXT_IMAGE}, followers first, {before} (the leader) last"):
        demo.patch(image=NEXT_IMAGE)
        demo.until_rolled(3)
    screen.print(figures(client.finish()))


def scale(demo: Cluster) -> None:
    """Grow to five and shrink to three."""
    for replicas in (5, 3):
        with step(f"Scaling to {replicas} members"):
            demo.patch(replicas=replicas)
            demo.until_ready(replicas, within=300)


def heal(kubectl: Kubectl, demo: Cluster) -> None:
    """Lose the leader's pod without a warning, under a client that never stops."""
    client = Workload(kubectl, demo.name)
    client.start()
    victim = demo.leader()
    with step(f"Killing {victim}, the leader, without a warning"):
        kubectl("delete", "pod", victim, "--grace-period=0", "--force")
        demo.until_ready(3)
    screen.print(figures(client.finish()))


def main() -> None:
    """Run the demo; everything stays, to look around."""
    given = os.environ.get("KUBECONFIG")
    kubectl = Kubectl(given or testbed("kubeconfig"), NAMESPACE)
    screen.print(Panel("AmateRS on Kubernetes", expand=False, style="bold"))
    with step("Installing the operator with helm"):
        install_operator(kubectl)
    screen.print(Syntax(TEN_LINES, "yaml", background_color="default"))
    demo = Cluster(kubectl, "demo")
    with step("kubectl apply: three ready pods"):
        kubectl("apply", "--filename", "-", stdin=TEN_LINES)
        demo.until_ready(3)
    demo.cli("set", "greeting", "hello")
    screen.print(kubectl("get", "amc", "demo"), soft_wrap=True)
    screen.print(demo.cli("cluster", "status"), soft_wrap=True)
    roll(kubectl, demo)
    heal(kubectl, demo)
    scale(demo)
    if not given:
        back_up(kubectl, demo)
    rotate(kubectl)
    screen.print(
        Panel(
            f"export KUBECONFIG={kubectl.kubeconfig}\n"
            f"kubectl -n {NAMESPACE} describe amc/demo\n"
            f"kubectl -n {NAMESPACE} exec demo-0 -- amaters-cli cluster status\n"
            "make cluster-down     # when you have seen enough",
            title="Look around",
            expand=False,
        )
    )


if __name__ == "__main__":
    main()
