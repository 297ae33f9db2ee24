"""Carry out one move. Each is safe to repeat: a crash in the middle is found by the next look."""

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from amaters_operator.api.cluster import AmatersCluster
from amaters_operator.controllers.pass_context import Nodes
from amaters_operator.database.port import Changing
from amaters_operator.decisions.moves import (
    AddMember,
    DeleteClaim,
    PromoteMember,
    RemoveMember,
    ReplacePod,
    SetReplicas,
    TransferLeadership,
)
from amaters_operator.decisions.seen import Pod, Seen
from amaters_operator.kube import kinds
from amaters_operator.kube.port import KubeApi
from amaters_operator.manifests import names

PATIENCE = timedelta(seconds=20)
"""How long a change of the membership may take, commit included."""

MembershipMove = AddMember | PromoteMember | RemoveMember | TransferLeadership
SimpleMove = MembershipMove | ReplacePod | SetReplicas | DeleteClaim


class NotNowError(Exception):
    """The move could not be made just now, and nothing was changed; the message says why."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Makes moves on one Kubernetes and its databases."""

    kube: KubeApi

    async def perform(self, move: SimpleMove, nodes: Nodes, seen: Seen) -> None:
        """Make the move; NotNowError, KubeError or AmatersError when it was not made."""
        cluster = nodes.cluster
        match move:
            case ReplacePod():
                await self._replace(move, cluster)
            case SetReplicas():
                pass  # The status records the number, and the next pass applies it.
            case DeleteClaim(claim, uid):
                await self.kube.delete(kinds.CLAIM, cluster.namespace, claim, uid=uid)
            case AddMember() | PromoteMember() | RemoveMember() | TransferLeadership():
                async with nodes.admin(_leading_pod(seen), timeout=PATIENCE) as admin:
                    await _change(move, cluster, admin)
            case _:
                assert_never(move)

    async def _replace(self, move: ReplacePod, cluster: AmatersCluster) -> None:
        refused = await self.kube.evict(cluster.namespace, move.pod, uid=move.uid)
        if refused:
            raise NotNowError(f"{move.pod} may not be evicted now: {refused}")


async def _change(move: MembershipMove, cluster: AmatersCluster, admin: Changing) -> None:
    match move:
        case AddMember(ordinal):
            await admin.add_member(
                peer_address=names.peer_address(cluster, ordinal),
                client_address=names.client_address(cluster, ordinal),
                name=names.pod(cluster, ordinal),
            )
        case PromoteMember(member):
            await admin.promote_member(member)
        case RemoveMember(member):
            await admin.remove_member(member)
        case TransferLeadership(member):
            await admin.transfer_leadership(to=member)
        case _:
            assert_never(move)


def _leading_pod(seen: Seen) -> Pod:
    """Return the pod of the leader: changes are asked of it, so that nothing is forwarded."""
    leader = seen.leader() or next((one for one in seen.voters if one.leader), None)
    pod = seen.pod(leader.ordinal) if leader is not None else None
    if pod is None:
        raise NotNowError("no pod leads the cluster just now")
    return pod
