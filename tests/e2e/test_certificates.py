"""A certificate is replaced under TLS load: no restart, no failed request, proven by serial."""

import pytest
from amaters_server.testing.certificates import Authority

from demo.keeping import serials_served, tls_secret
from demo.kubectl import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.ipv6]


def test_a_rotated_certificate_is_served_by_every_pod_without_a_restart(cluster, workload, kubectl):
    namespace = kubectl.namespace
    names = (
        f"tls.{namespace}.svc",
        f"*.tls-peers.{namespace}.svc",
        f"*.tls-peers.{namespace}.svc.cluster.local",
    )
    authority = Authority("e2e-ca")
    first = authority.issue(names=names)
    kubectl.apply(tls_secret("tls-certificate", first, authority))
    tls = cluster(
        "tls", replicas=3, tls={"secretName": "tls-certificate", "requireClientCert": True}
    )
    tls.until_ready(3)
    uids = {name: pod["metadata"]["uid"] for name, pod in tls.pods.items()}
    client = workload("tls", tls_secret="tls-certificate")
    client.start()

    second = authority.issue(names=names)
    kubectl.apply(tls_secret("tls-certificate", second, authority))

    def proven() -> bool:
        current = serials_served(tls) == {second.serial}
        return current and tls.condition("CertificatesCurrent").get("status") == "True"

    eventually("every pod serves the new serial", proven, within=180, explain=tls.describe)
    summary = client.finish()
    print(f"\nrotation under load: {summary}; {first.serial} -> {second.serial}")
    assert summary["violations"] == []
    assert summary["failed_writes"] == 0
    assert summary["failed_reads"] == 0
    pods = tls.pods
    assert {name: pod["metadata"]["uid"] for name, pod in pods.items()} == uids
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods.values()]
    assert restarts == [0, 0, 0]
