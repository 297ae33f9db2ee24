"""Fences nodes, and frees them, as the annotation says."""

import asyncio
from datetime import timedelta

from amaters.errors import AmatersError

from amaters_operator.controllers.pass_context import Nodes
from amaters_operator.decisions import fence
from amaters_operator.decisions.observation import Observation
from amaters_operator.decisions.pass_result import Blocked

_TIMEOUT = timedelta(seconds=10)
"""For a node to fence itself, which includes handing leadership over."""


async def keep_fences(nodes: Nodes, observed: Observation) -> list[Blocked]:
    """Ask each node that is not as annotated; return why a node refuses."""
    asked = fence.changes(nodes.cluster, observed)
    answers = await asyncio.gather(
        *(_ask(nodes, observed, ordinal, fenced=fenced) for ordinal, fenced in asked.items())
    )
    return [Blocked("FenceWaits", why, lasting=False) for why in answers if why]


async def _ask(nodes: Nodes, observed: Observation, ordinal: int, *, fenced: bool) -> str:
    pod = observed.pod(ordinal)
    if pod is None:
        return ""
    try:
        async with nodes.admin(pod, timeout=_TIMEOUT) as admin:
            await admin.set_fenced(fenced)
    except AmatersError as error:
        doing = "fenced" if fenced else "freed of its fence"
        return f"{pod.name} cannot be {doing}: {error}"
    return ""
