"""Have running nodes load a changed configuration file and a renewed certificate, and prove it.

Files arrive in the pods when the kubelet gets to it. A reload before that does no harm: the digest
and the serials that the node reports afterwards say whether it is to be repeated. That a listener
serves a certificate is proven by a handshake.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from amaters.errors import AmatersError

from amaters_operator.controllers.pass_context import Nodes
from amaters_operator.controllers.secrets import TlsSecret
from amaters_operator.decisions.certificates import Presented, judge
from amaters_operator.decisions.findings import Certificates
from amaters_operator.decisions.seen import Pod, Seen, listed

_PATIENCE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Reloaded:
    """How far the nodes have taken over what they are to run with."""

    certificates: Certificates | None
    """None when the cluster uses no TLS."""
    configuration: str = ""
    """Which nodes are behind in their configuration file, and why; empty when none is."""

    @property
    def done(self) -> bool:
        """Whether every node runs with the newest file, and serves the newest certificate."""
        if self.certificates is None:
            return not self.configuration
        verdict = self.certificates.verdict
        return verdict is not None and verdict.done and not self.configuration


async def reload(nodes: Nodes, seen: Seen, secret: TlsSecret, files: frozenset[str]) -> Reloaded:
    """Ask every node that is behind in file or certificate to reload, each once.

    `files` are the digests of the configuration files that are current. Nodes that report no
    digest, or take no part yet, are not behind in that.
    """
    old_file = [pod for pod in seen.pods if _has_old_file(seen, pod, files)]
    presented = await _presented(nodes, seen, secret)
    verdict = None if secret.leaf is None else judge(secret.leaf.serial, presented)
    old_certificate = () if verdict is None else verdict.reload
    behind = [pod for pod in seen.pods if pod in old_file or pod.name in old_certificate]
    answers = await asyncio.gather(*(_reload(nodes, pod) for pod in behind))
    problems = {pod.name: said for pod, said in zip(behind, answers, strict=True) if said}
    certificates = None
    if secret.leaf is not None:
        said = "; ".join(problems[name] for name in old_certificate if name in problems)
        certificates = Certificates(secret.leaf.serial, secret.leaf.not_after, verdict, said)
    elif nodes.cluster.spec.tls is not None:
        certificates = Certificates(problem=secret.problem)
    return Reloaded(certificates, _on_its_way([pod.name for pod in old_file], problems))


def _on_its_way(names: list[str], problems: dict[str, str]) -> str:
    if not names:
        return ""
    refused = "; ".join(problems[name] for name in names if name in problems)
    text = f"the newest configuration is on its way to: {listed(names)}"
    return f"{text}. {refused}" if refused else text


def _has_old_file(seen: Seen, pod: Pod, files: frozenset[str]) -> bool:
    node = seen.nodes.get(pod.ordinal)
    if node is None or not node.takes_part or not node.config_digest:
        return False
    return node.config_digest not in files


async def _presented(nodes: Nodes, seen: Seen, secret: TlsSecret) -> dict[str, Presented]:
    """Return the certificates of the nodes that answer, by pod."""
    if secret.leaf is None:
        return {}
    serial = secret.leaf.serial
    answering = [pod for pod in seen.pods if pod.ordinal in seen.nodes and pod.ip]
    shown = await asyncio.gather(*(_shown(nodes, pod, seen, serial) for pod in answering))
    return {pod.name: one for pod, one in zip(answering, shown, strict=True)}


async def _shown(nodes: Nodes, pod: Pod, seen: Seen, serial: str) -> Presented:
    """Shake hands only where the proof is not on record yet, so that logs stay quiet."""
    loaded = tuple(one.serial for one in seen.nodes[pod.ordinal].certificates)
    if not loaded or any(one != serial for one in loaded):
        return Presented(loaded, None)
    recorded = {one.pod: one.certificate_serial for one in nodes.cluster.status.members}
    if recorded.get(pod.name) == serial:
        return Presented(loaded, loaded)
    return Presented(loaded, await nodes.served_serials(pod, timeout=_PATIENCE))


async def _reload(nodes: Nodes, pod: Pod) -> str:
    """Ask for a reload; return what the node has against the files, if anything."""
    try:
        async with nodes.admin(pod, timeout=_PATIENCE) as admin:
            report = await admin.reload()
    except AmatersError as error:
        return f"{pod.name}: {error}"
    return "" if report.success else f"{pod.name} refused it: {'; '.join(report.errors)}"
