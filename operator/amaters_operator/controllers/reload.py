"""Make running nodes load a changed configuration file and a renewed certificate, and prove it.

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
from amaters_operator.decisions.certificates import (
    PresentedCertificates,
    Rotation,
    rotation_state,
)
from amaters_operator.decisions.observation import Observation, Pod, listed

_TIMEOUT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Reloaded:
    """How far the nodes have loaded the newest configuration and certificate."""

    certificates: Rotation | None
    """None when the cluster uses no TLS."""
    configuration: str = ""
    """Which nodes are behind in their configuration file, and why; empty when none is."""

    @property
    def done(self) -> bool:
        """Whether every node runs with the newest file, and serves the newest certificate."""
        if self.certificates is None:
            return not self.configuration
        state = self.certificates.state
        return state is not None and state.done and not self.configuration


async def reload(
    nodes: Nodes,
    observed: Observation,
    secret: TlsSecret,
    files: frozenset[str],
    *,
    act: bool = True,
) -> Reloaded:
    """Ask every node that is behind in file or certificate to reload, each once.

    `files` are the digests of the configuration files that are current. Nodes that report no
    digest, or take no part yet, are not behind in that. Without `act` nobody is asked.
    """
    old_file = [pod for pod in observed.pods if _has_old_file(observed, pod, files)]
    presented = await _presented(nodes, observed, secret)
    state = None if secret.leaf is None else rotation_state(secret.leaf.serial, presented)
    old_certificate = () if state is None else state.reload
    behind = [pod for pod in observed.pods if pod in old_file or pod.name in old_certificate]
    answers = [""] * len(behind)
    if act:
        answers = await asyncio.gather(*(_reload(nodes, pod) for pod in behind))
    problems = {pod.name: problem for pod, problem in zip(behind, answers, strict=True) if problem}
    certificates = None
    if secret.leaf is not None:
        problem = "; ".join(problems[name] for name in old_certificate if name in problems)
        certificates = Rotation(secret.leaf.serial, secret.leaf.not_after, state, problem)
    elif nodes.cluster.spec.tls is not None:
        certificates = Rotation(problem=secret.problem)
    return Reloaded(certificates, _configuration_behind([pod.name for pod in old_file], problems))


def _configuration_behind(names: list[str], problems: dict[str, str]) -> str:
    if not names:
        return ""
    refused = "; ".join(problems[name] for name in names if name in problems)
    text = f"the newest configuration is on its way to: {listed(names)}"
    return f"{text}. {refused}" if refused else text


def _has_old_file(observed: Observation, pod: Pod, files: frozenset[str]) -> bool:
    node = observed.nodes.get(pod.ordinal)
    if node is None or not node.takes_part or not node.config_digest:
        return False
    return node.config_digest not in files


async def _presented(
    nodes: Nodes, observed: Observation, secret: TlsSecret
) -> dict[str, PresentedCertificates]:
    """Return the certificates of the nodes that answer, by pod."""
    if secret.leaf is None:
        return {}
    serial = secret.leaf.serial
    answering = [pod for pod in observed.pods if pod.ordinal in observed.nodes and pod.ip]
    shown = await asyncio.gather(
        *(_presented_by(nodes, pod, observed, serial) for pod in answering)
    )
    return {pod.name: one for pod, one in zip(answering, shown, strict=True)}


async def _presented_by(
    nodes: Nodes, pod: Pod, observed: Observation, serial: str
) -> PresentedCertificates:
    """Connect only where the status has no proof yet, to keep the nodes' logs quiet."""
    loaded = observed.nodes[pod.ordinal].certificates
    if not loaded or any(one != serial for one in loaded):
        return PresentedCertificates(loaded, None)
    recorded = {one.pod: one.certificate_serial for one in nodes.cluster.status.members}
    if recorded.get(pod.name) == serial:
        return PresentedCertificates(loaded, loaded)
    return PresentedCertificates(loaded, await nodes.served_serials(pod, timeout=_TIMEOUT))


async def _reload(nodes: Nodes, pod: Pod) -> str:
    """Ask for a reload; return why the node refuses, if it does."""
    try:
        async with nodes.admin(pod, timeout=_TIMEOUT) as admin:
            report = await admin.reload()
    except AmatersError as error:
        return f"{pod.name}: {error}"
    return "" if report.success else f"{pod.name} refused it: {'; '.join(report.errors)}"
