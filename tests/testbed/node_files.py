"""What a node's daemons are configured with. Pure: addresses and folders in, documents out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from testbed.addresses import Node, Plan, at

PAUSE_IMAGE = "localhost/pause:1"
HEALTHZ_PORT = 10256


def cni(node: Node, plan: Plan, folder: Path) -> dict[str, Any]:
    """Return the pod network: one routed cable for each pod, addresses from the node's ranges.

    Routed, not bridged: a bridge would answer a pod on the same node around the address
    translation of services.
    """
    ipam = {
        "type": "host-local",
        "dataDir": f"{folder}/ipam",
        "ranges": [[{"subnet": family.pods_of(node)}] for family in plan.families],
        "routes": [{"dst": family.everything} for family in plan.families],
    }
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def containerd(folder: Path) -> str:
    """Return containerd's settings; every file it makes stays below the node's folder."""
    return f"""version = 2
{_containerd_folders(folder)}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  # Without the right to lower a process's score, runc would fail to start any pod.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{folder}/runc"
"""


def containerd_without_pods(folder: Path) -> str:
    """Return settings for a containerd that only keeps images."""
    return f"""version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
{_containerd_folders(folder)}"""


def _containerd_folders(folder: Path) -> str:
    return f"""root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
"""


def kubelet(node: Node, plan: Plan, folder: Path, pki: Path, cgroup: str) -> dict[str, Any]:
    """Return the kubelet's settings; its pods live in a control group of their own."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": plan.first.of(node),
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/{node.name}.crt",
        "tlsPrivateKeyFile": f"{pki}/{node.name}.key",
        "containerRuntimeEndpoint": f"unix://{folder}/containerd.sock",
        "podLogsDir": f"{folder}/pod-logs",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "resolvConf": "",
        "clusterDomain": "cluster.local",
        "clusterDNS": [plan.first.dns_service],
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "4s",
        "nodeLeaseDurationSeconds": 16,
        "serializeImagePulls": False,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi"},
    }


def proxy(node: Node, plan: Plan, kubeconfig: Path, healthz: str) -> dict[str, Any]:
    """Return kube-proxy's settings: services as iptables rules in one namespace.

    The sysctls behind `conntrack` do not exist in a network namespace; zero leaves them alone.
    """
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": plan.pods,
        "hostnameOverride": node.name,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "conntrack": {"maxPerCore": 0, "min": 0},
        "metricsBindAddress": "127.0.0.1:10249",
        "healthzBindAddress": at(healthz, HEALTHZ_PORT),
    }
