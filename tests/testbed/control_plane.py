"""The control plane: etcd, API server, controllers, scheduler and cluster DNS, as daemons."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from testbed import cgroups, kubeconfigs, pki
from testbed.addresses import API_PORT, CLUSTER_NAMESPACE, Family, Plan
from testbed.daemons import Daemons, Seat
from testbed.kube import Kube, Manifest
from testbed.pki import Authority, Identity
from testbed.places import Places
from testbed.shell import TestbedError

GROUP = "control-plane"
SEAT = Seat(CLUSTER_NAMESPACE, GROUP)
API_NAMES = (
    *("kubernetes", "kubernetes.default", "kubernetes.default.svc"),
    *("kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1"),
)
CLIENTS = {
    "admin": Identity("admin", "system:masters"),
    "controllers": Identity("system:kube-controller-manager"),
    "scheduler": Identity("system:kube-scheduler"),
    "proxy": Identity("system:kube-proxy"),
    "kubelet-client": Identity("apiserver-kubelet", "system:masters"),
}
# A node that stops reporting for this long is marked NotReady.
NODE_GRACE = "20s"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The daemons without which there is no cluster."""

    places: Places
    daemons: Daemons
    plan: Plan

    def issue_identities(self) -> Authority:
        """Make the authority, the API server's certificate, every client's, and the token keys."""
        authority = pki.authority("amaters-testbed")
        authority.pair.write(self.places.pki, "ca")
        api_server = authority.issue(Identity("kube-apiserver"), (*API_NAMES, *self.plan.api_hosts))
        api_server.write(self.places.pki, "apiserver")
        for name, identity in CLIENTS.items():
            self.issue(authority, name, identity)
        private, public = pki.token_keys()
        (self.places.pki / "tokens.key").write_bytes(private)
        (self.places.pki / "tokens.pub").write_bytes(public)
        return authority

    def issue(
        self, authority: Authority, name: str, identity: Identity, hosts: tuple[str, ...] = ()
    ) -> None:
        """Sign one client's certificate and write it, and a kubeconfig that uses it."""
        pair = authority.issue(identity, hosts)
        pair.write(self.places.pki, name)
        (self.places.state / f"{name}.kubeconfig").write_text(
            kubeconfigs.render(
                server=self.plan.api_url,
                authority=authority.pair.certificate,
                user=identity.name,
                pair=pair,
            )
        )

    def start_api(self) -> None:
        """Start etcd and the API server; neither answers yet when this returns."""
        cgroups.make(GROUP)
        self.daemons.start("etcd", SEAT, self._etcd())
        self.daemons.start("apiserver", SEAT, self.api_server_command())

    def wait_for_api(self, kube: Kube, *, seconds: float = 90) -> None:
        """Return once the API server is ready; raise early if it died."""
        end = time.monotonic() + seconds
        while not kube.is_ready():
            self.daemons.require_alive()
            if time.monotonic() > end:
                words = self.daemons.last_words("apiserver")
                raise TestbedError(f"the API server is not ready after {seconds:g} s:\n{words}")
            time.sleep(0.1)

    def start_controllers(self) -> None:
        """Start what needs the API server: controllers, scheduler, DNS."""
        corefile = self.places.state / "Corefile"
        corefile.write_text(dns_settings(self.plan, self.places.inner_kubeconfig))
        self.daemons.start("controllers", SEAT, self.controllers_command())
        self.daemons.start("scheduler", SEAT, self._scheduler())
        self.daemons.start("dns", SEAT, [self.places.bin / "coredns", "-conf", corefile])

    def _etcd(self) -> list[str]:
        return [
            f"{self.places.bin}/etcd",
            # Nothing survives `down` anyway, so the disk need not confirm each write.
            "--unsafe-no-fsync",
            f"--data-dir={self.places.state}/etcd",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
        ]

    def api_server_command(self) -> list[str]:
        """Return how the API server is started."""
        pki_folder = self.places.pki
        return [
            f"{self.places.bin}/kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--advertise-address={self.plan.first.control_plane}",
            f"--bind-address={self.plan.families[-1].everywhere}",
            f"--secure-port={API_PORT}",
            f"--tls-cert-file={pki_folder}/apiserver.crt",
            f"--tls-private-key-file={pki_folder}/apiserver.key",
            f"--client-ca-file={pki_folder}/ca.crt",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki_folder}/tokens.pub",
            f"--service-account-signing-key-file={pki_folder}/tokens.key",
            f"--service-cluster-ip-range={self.plan.services}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={pki_folder}/kubelet-client.crt",
            f"--kubelet-client-key={pki_folder}/kubelet-client.key",
            f"--kubelet-certificate-authority={pki_folder}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def controllers_command(self) -> list[str]:
        """Return how the controllers are started."""
        return [
            f"{self.places.bin}/kube-controller-manager",
            f"--kubeconfig={self.places.state}/controllers.kubeconfig",
            f"--service-account-private-key-file={self.places.pki}/tokens.key",
            f"--root-ca-file={self.places.pki}/ca.crt",
            f"--cluster-signing-cert-file={self.places.pki}/ca.crt",
            f"--cluster-signing-key-file={self.places.pki}/ca.key",
            "--use-service-account-credentials",
            "--leader-elect=false",
            f"--node-monitor-grace-period={NODE_GRACE}",
            f"--cluster-cidr={self.plan.pods}",
        ]

    def _scheduler(self) -> list[str]:
        return [
            f"{self.places.bin}/kube-scheduler",
            f"--kubeconfig={self.places.state}/scheduler.kubeconfig",
            "--leader-elect=false",
        ]


def dns_settings(plan: Plan, kubeconfig: Path) -> str:
    """Return CoreDNS's settings: it answers for Services and pods, and knows nothing else."""
    addresses = " ".join(family.control_plane for family in plan.families)
    reverse = " ".join(family.arpa for family in plan.families)
    return (
        f".:53 {{\n  bind {addresses}\n  errors\n"
        f"  kubernetes cluster.local {reverse} {{\n"
        f"    kubeconfig {kubeconfig}\n    ttl 1\n  }}\n}}\n"
    )


def dns_objects(family: Family) -> list[Manifest]:
    """Return the Service that pods ask for names, pointing at the DNS daemon."""
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    named = [{"name": name, "port": 53, "protocol": protocol} for name, protocol in ports]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {"clusterIP": family.dns_service, "ports": named},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns-1",
                "namespace": "kube-system",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": family.name,
            "ports": named,
            "endpoints": [{"addresses": [family.control_plane], "conditions": {"ready": True}}],
        },
    ]
