"""Have running nodes take over a changed configuration file, and know when they have.

The file arrives in the pods when the kubelet gets to it. A reload before that does no harm; the
digest that a node tells afterwards says whether it is to be repeated.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from amaters.errors import AmatersError
from amaters.transport.tls import TlsMaterial

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.controllers import nodes
from amaters_operator.database.port import Database
from amaters_operator.decisions.seen import Pod, Seen, listed

_PATIENCE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Reloader:
    """Asks nodes to reload, each of them at once."""

    database: Database

    async def advance(
        self,
        cluster: AmatersCluster,
        seen: Seen,
        wanted: frozenset[str],
        tls: TlsMaterial | None,
    ) -> str:
        """Have every node whose file is none of the wanted reload; return who is behind, and why.

        Nodes that do not tell their digest, or take no part yet, are left alone.
        """
        behind = [pod for pod in seen.pods if _is_behind(seen, pod, wanted)]
        if not behind:
            return ""
        problems = await asyncio.gather(*(self._reload(cluster, pod, tls) for pod in behind))
        names = listed(pod.name for pod in behind)
        text = f"the newest configuration is on its way to: {names}"
        refused = "; ".join(filter(None, problems))
        return f"{text}. {refused}" if refused else text

    async def _reload(self, cluster: AmatersCluster, pod: Pod, tls: TlsMaterial | None) -> str:
        address = nodes.address(cluster, pod)
        try:
            async with self.database.admin(address, tls, timeout=_PATIENCE) as admin:
                report = await admin.reload()
        except AmatersError as error:
            return str(error)
        return "" if report.success else f"{pod.name} refused it: {'; '.join(report.errors)}"


def _is_behind(seen: Seen, pod: Pod, wanted: frozenset[str]) -> bool:
    node = seen.nodes.get(pod.ordinal)
    if node is None or not node.takes_part or not node.config_digest:
        return False
    return node.config_digest not in wanted
