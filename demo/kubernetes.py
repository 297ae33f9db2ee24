"""`make demo-k8s`: the whole story on a real Kubernetes, with its figures."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table

from demo.clusters import NEXT_IMAGE, Cluster, Workload
from demo.kubectl import ROOT, Kubectl, eventually

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
screen = Console(highlight=False)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show what is going on, and how long it took."""
    start = time.monotonic()
    with screen.status(f"[bold]{title}[/]"):
        yield
    screen.print(f"[green]✓[/] {title} [dim]({time.monotonic() - start:.1f} s)[/]")


def testbed(*arguments: str) -> str:
    """Run the test bed's command line and return what it prints."""
    script = ROOT / "tests" / "testbed" / "cluster.py"
    done = subprocess.run(
        [sys.executable, str(script), *arguments], text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.strip()


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


def figures(summary: dict[str, object]) -> Table:
    """Lay out a workload's summary."""
    table = Table(title="What the client saw", show_header=False)
    for name in ("acknowledged", "read", "failed_writes", "failed_reads"):
        table.add_row(name.replace("_", " "), str(summary[name]))
    table.add_row("longest write gap", f"{summary['longest_write_gap_ms']} ms")
    table.add_row("longest read gap", f"{summary['longest_read_gap_ms']} ms")
    violations = summary["violations"]
    lost = len(violations) if isinstance(violations, list) else -1
    table.add_row("lost or stale", f"[bold {'red' if lost else 'green'}]{lost}[/]")
    return table


def roll(kubectl: Kubectl, demo: Cluster) -> None:
    """Upgrade under a client that never stops."""
    client = Workload(kubectl, demo.name, f"workload-{int(time.time())}")
    client.start()
    before = demo.leader()
    with step(f"Upgrading to {NEXT_IMAGE}, followers first, {before} (the leader) last"):
        demo.patch(image=NEXT_IMAGE)
        eventually(
            "every pod on the next image",
            lambda: (
                {pod["spec"]["containers"][0]["image"] for pod in demo.pods.values()}
                == {NEXT_IMAGE}
            ),
            within=300,
            explain=demo.describe,
        )
        demo.until_ready(3)
    screen.print(figures(client.finish()))


def scale(demo: Cluster) -> None:
    """Grow to five and shrink to three."""
    for replicas in (5, 3):
        with step(f"Scaling to {replicas} members"):
            demo.patch(replicas=replicas)
            demo.until_ready(replicas, within=300)


def back_up(kubectl: Kubectl, demo: Cluster) -> None:
    """Upload a snapshot to the test bed's S3 server and restore it into a second cluster."""
    place = json.loads(testbed("s3"))
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s3-credentials"},
            "stringData": {
                "AWS_ACCESS_KEY_ID": place["access_key"],
                "AWS_SECRET_ACCESS_KEY": place["secret_key"],
            },
        }
    )
    backup = {
        "destination": f"s3://{place['bucket']}/{NAMESPACE}-{int(time.time())}",
        "endpointUrl": place["endpoint"],
        "addressingStyle": "path",
        "credentialsSecretName": "s3-credentials",
    }
    with step("Telling the cluster where backups go (a rolling restart)"):
        demo.patch(backup=backup)
        time.sleep(2)
        demo.until_ready(3, within=300)
    with step("Uploading a snapshot to S3"):
        kubectl("annotate", "amc/demo", f"amaters.io/backup={time.time():.0f}", "--overwrite")
        eventually("the backup in the status", lambda: last_backup(demo), within=120)
    screen.print(f"  {last_backup(demo)}")
    copy = Cluster(kubectl, "copy")
    with step("Restoring it into a second cluster"):
        restored = {**backup, "destination": f"{backup['destination']}-copy"}
        copy.create(replicas=3, backup=restored, bootstrap={"restoreFrom": last_backup(demo)})
        copy.until_ready(3)
    same = copy.cli("get", "greeting") == demo.cli("get", "greeting")
    screen.print(f"  contents equal: [bold]{same}[/]")


def last_backup(cluster: Cluster) -> str:
    """Where the newest backup is; empty while there is none."""
    backup = cluster.resource.get("status", {}).get("backup") or {}
    uri: str = (backup.get("last") or {}).get("uri", "")
    return uri


def main() -> None:
    """Tell the story; everything stays, to look around."""
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
    screen.print(kubectl("get", "amc", "demo", "--output", "wide"))
    screen.print(demo.cli("cluster", "status"))
    roll(kubectl, demo)
    scale(demo)
    if not given:
        back_up(kubectl, demo)
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
