"""The chapters of the Kubernetes demo about keeping: backups, and certificates that follow."""

import base64
import json
import time

from amaters_server.testing.certificates import Authority, Issued

from demo.clusters import Cluster, Workload
from demo.kubectl import Kubectl, eventually
from demo.stage import figures, screen, step, testbed


def back_up(kubectl: Kubectl, demo: Cluster) -> None:
    """Upload a backup to the test bed's S3 server and restore it into a second cluster."""
    backup = _place(kubectl)
    with step("Setting where backups go (nothing restarts)"):
        demo.patch(backup=backup)
        demo.until_rolled(3)
    with step("Uploading a backup to S3"):
        kubectl("annotate", "amc/demo", f"amaters.io/backup={time.time():.0f}", "--overwrite")
        eventually("the backup in the status", lambda: demo.last_backup, within=180)
    screen.print(f"  {demo.last_backup}", soft_wrap=True)
    copy = Cluster(kubectl, "copy")
    with step("Restoring it into a second cluster"):
        restored = {**backup, "destination": f"{backup['destination']}-copy"}
        copy.create(replicas=3, backup=restored, bootstrap={"restoreFrom": demo.last_backup})
        copy.until_ready(3)
    same = copy.cli("get", "greeting") == demo.cli("get", "greeting")
    screen.print(f"  contents equal: [bold]{same}[/]")
    kubectl("delete", "amc", copy.name, "--wait=false")


def rotate(kubectl: Kubectl) -> None:
    """Replace the certificate of a cluster under TLS load."""
    authority = Authority("demo authority")
    names = tuple(
        name.format(kubectl.namespace)
        for name in (
            "secure.{}.svc",
            "*.secure-peers.{}.svc",
            "*.secure-peers.{}.svc.cluster.local",
        )
    )
    first, second = authority.issue(names=names), authority.issue(names=names)
    secure = Cluster(kubectl, "secure")
    with step("A cluster that demands client certificates"):
        kubectl.apply(tls_secret("secure-certificate", first, authority))
        secure.create(
            replicas=3, tls={"secretName": "secure-certificate", "requireClientCert": True}
        )
        secure.until_ready(3)
    client = Workload(kubectl, secure.name, tls_secret="secure-certificate")
    client.start()
    with step("Replacing its certificate under load: no restart, every pod proven by a handshake"):
        kubectl.apply(tls_secret("secure-certificate", second, authority))
        eventually(
            "the new serial on every pod",
            lambda: serials_served(secure) == {second.serial},
            within=180,
            explain=secure.describe,
        )
    screen.print(figures(client.finish()))


def tls_secret(name: str, issued: Issued, authority: Authority) -> dict[str, object]:
    """Return a Secret as cert-manager would write it."""
    pem = {"tls.crt": issued.certificate, "tls.key": issued.key, "ca.crt": authority.pem}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name},
        "data": {file: base64.b64encode(value).decode() for file, value in pem.items()},
    }


def serials_served(cluster: Cluster) -> set[str]:
    """Return the serials that the operator saw the members serve."""
    return {one.get("certificateSerial", "") for one in cluster.resource["status"]["members"]}


def _place(kubectl: Kubectl) -> dict[str, object]:
    """Make the test bed's S3 server known; returns `spec.backup`."""
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
    return {
        "destination": f"s3://{place['bucket']}/{kubectl.namespace}-{int(time.time())}",
        "endpointUrl": place["endpoint"],
        "addressingStyle": "path",
        "credentialsSecretName": "s3-credentials",
    }
