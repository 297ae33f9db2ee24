"""Certificate rotation: the Secret, the files, the reload by SIGHUP, and the proof by handshake.

Files arrive in the pods when the kubelet gets to it. Until then a reload loads the old ones, which
does no harm and tells by the serial that it is to be repeated.
"""

import asyncio
import base64
import binascii
from dataclasses import dataclass
from datetime import timedelta

from amaters.errors import AmatersError
from amaters.transport.tls import TlsMaterial

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.controllers import nodes
from amaters_operator.database.certificates import CertificateError, Leaf, material
from amaters_operator.database.port import Database
from amaters_operator.decisions.certificates import Presented, judge
from amaters_operator.decisions.findings import Certificates
from amaters_operator.decisions.seen import Pod, Seen
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests.names import Manifest

_PATIENCE = timedelta(seconds=5)
_KEYS = ("tls.crt", "tls.key", "ca.crt")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the Secret holds."""

    tls: TlsMaterial | None = None
    leaf: Leaf | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Rotation:
    """Reads the Secret, has nodes reload, and looks at what they serve."""

    kube: KubeApi
    database: Database

    async def wanted(self, cluster: AmatersCluster) -> Wanted:
        """Return what the Secret holds, or what is wrong with it."""
        if cluster.spec.tls is None:
            return Wanted()
        name = cluster.spec.tls.secret_name
        secret = await self.kube.get(kinds.SECRET, cluster.namespace, name)
        if secret is None:
            return Wanted(problem=f"Secret {name} is missing: create it with {', '.join(_KEYS)}")
        try:
            certificate, key, ca = (_decoded(secret, key) for key in _KEYS)
            tls, leaf = material(certificate, key, ca, self.kube.now())
        except CertificateError as error:
            return Wanted(problem=f"Secret {name} cannot be used: {error}")
        return Wanted(tls, leaf)

    async def advance(
        self, cluster: AmatersCluster, seen: Seen, wanted: Wanted
    ) -> Certificates | None:
        """Have every node that is behind reload; return how far the rotation is."""
        if cluster.spec.tls is None:
            return None
        if wanted.leaf is None or wanted.tls is None:
            return Certificates(problem=wanted.problem)
        serial = wanted.leaf.serial
        presented = await self._presented(cluster, seen, wanted.tls, serial)
        verdict = judge(serial, presented)
        behind = [pod for pod in seen.pods if pod.name in verdict.reload]
        problems = await asyncio.gather(*(self._reload(cluster, pod, wanted.tls) for pod in behind))
        return Certificates(
            serial, wanted.leaf.not_after, verdict, "; ".join(filter(None, problems))
        )

    async def _presented(
        self, cluster: AmatersCluster, seen: Seen, tls: TlsMaterial, serial: str
    ) -> dict[str, Presented]:
        answering = [pod for pod in seen.pods if pod.ordinal in seen.nodes and pod.ip]
        shown = await asyncio.gather(
            *(self._one(cluster, pod, seen, tls, serial) for pod in answering)
        )
        return {pod.name: one for pod, one in zip(answering, shown, strict=True)}

    async def _one(
        self, cluster: AmatersCluster, pod: Pod, seen: Seen, tls: TlsMaterial, serial: str
    ) -> Presented:
        """Shake hands only where the proof is not on record yet, so that logs stay quiet."""
        loaded = tuple(one.serial for one in seen.nodes[pod.ordinal].certificates)
        if not loaded or any(one != serial for one in loaded):
            return Presented(loaded, None)
        recorded = {one.pod: one.certificate_serial for one in cluster.status.members}
        if recorded.get(pod.name) == serial:
            return Presented(loaded, loaded)
        address = nodes.address(cluster, pod)
        return Presented(
            loaded, await self.database.served_serials(address, tls, timeout=_PATIENCE)
        )

    async def _reload(self, cluster: AmatersCluster, pod: Pod, tls: TlsMaterial) -> str:
        """Ask for a reload; return what the node has against the files, if anything."""
        address = nodes.address(cluster, pod)
        try:
            async with self.database.admin(address, tls, timeout=_PATIENCE) as admin:
                report = await admin.reload()
        except AmatersError as error:
            return f"{pod.name}: {error}"
        return "" if report.success else f"{pod.name} refused it: {'; '.join(report.errors)}"


def _decoded(secret: Manifest, key: str) -> bytes:
    value = (secret.get("data") or {}).get(key)
    if not value:
        raise CertificateError(f"{key} is missing: add it to the Secret")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise CertificateError(f"{key} is not base64: write the Secret anew") from error
