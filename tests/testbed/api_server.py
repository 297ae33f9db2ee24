"""An API server alone with its etcd: what it accepts is known in seconds, without any node.

No controller runs beside it: objects stay as they are written.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaters_server.testing.ports import free_ports, has_ipv6

from testbed.shell import CommandFailedError, attempt, run, wait_until

START_SECONDS = 60
_TOKEN = "administrator"
NEEDED = ("etcd", "kube-apiserver", "kubectl", "helm")


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A running API server."""

    bin: Path
    kubeconfig: Path
    by_ipv6: Path
    """A kubeconfig that reaches it at ::1, on a host that has such an address."""

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run kubectl as an administrator; CommandFailedError holds the answer of a refusal."""
        command = (self.bin / "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments)
        return run(*command, stdin=stdin, timeout=60)

    def helm(self, *arguments: str | Path) -> str:
        """Run helm as an administrator."""
        environment = os.environ | {"KUBECONFIG": str(self.kubeconfig)}
        return run(self.bin / "helm", *arguments, env=environment, timeout=60)

    def apply(self, manifests: Iterable[Mapping[str, Any]], *options: str) -> str:
        """Apply the objects server-side, all in one call."""
        whole = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        return self.kubectl("apply", "--server-side", *options, "-f", "-", stdin=json.dumps(whole))

    def refuses(self, manifests: Iterable[Mapping[str, Any]]) -> str:
        """Return why the objects are refused; empty when they are accepted. Nothing is written."""
        try:
            self.apply(manifests, "--dry-run=server", "--force-conflicts")
        except CommandFailedError as refused:
            return refused.output
        return ""


@contextmanager
def serving(binaries: Path, folder: Path) -> Iterator[ApiServer]:
    """Serve on loopback while the context is open."""
    clients, peers, port = free_ports(3)
    server = ApiServer(binaries, folder / "kubeconfig", folder / "kubeconfig-ipv6")
    server.kubeconfig.write_text(json.dumps(_kubeconfig(f"127.0.0.1:{port}")))
    server.by_ipv6.write_text(json.dumps(_kubeconfig(f"[::1]:{port}")))
    run("openssl", "genrsa", "-out", folder / "accounts.key", "2048")
    (folder / "tokens.csv").write_text(f"{_TOKEN},admin,1,system:masters\n")
    with (
        _daemon(folder, binaries / "etcd", *_etcd(folder, clients, peers)),
        _daemon(folder, binaries / "kube-apiserver", *_api_server(folder, clients, port)),
    ):
        wait_until(
            lambda: attempt(
                *(binaries / "kubectl", f"--kubeconfig={server.kubeconfig}"),
                *("get", "--raw", "/readyz"),
            ),
            "API server",
            seconds=START_SECONDS,
            hint=f"see the logs in {folder}",
        )
        yield server


def _etcd(folder: Path, clients: int, peers: int) -> list[str]:
    url = f"http://127.0.0.1:{clients}"
    return [
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls=http://127.0.0.1:{peers}",
        "--unsafe-no-fsync",
    ]


def _api_server(folder: Path, etcd: int, port: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--secure-port={port}",
        f"--bind-address={'::' if has_ipv6() else '127.0.0.1'}",
        # Its own address in Kubernetes; kubelets are not there.
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--cert-dir={folder}/certificates",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={folder}/accounts.key",
        f"--service-account-key-file={folder}/accounts.key",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=AlwaysAllow",
        "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
        # It waits for accounts that a controller makes.
        "--disable-admission-plugins=ServiceAccount",
    ]


@contextmanager
def _daemon(folder: Path, program: Path, *arguments: str) -> Iterator[None]:
    with (folder / f"{program.name}.log").open("wb") as log:
        process = subprocess.Popen(["nice", str(program), *arguments], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _kubeconfig(address: str) -> dict[str, Any]:
    cluster = {"server": f"https://{address}", "insecure-skip-tls-verify": True}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "only", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": _TOKEN}}],
        "contexts": [
            {"name": "only", "context": {"cluster": "only", "user": "admin", "namespace": "shop"}}
        ],
        "current-context": "only",
    }
